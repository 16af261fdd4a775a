/*
 * What a reload has to say: each key that waits for a restart is found when it changes,
 * and no other.
 */
#include "unit/conf/conf_dump.h"

#define HEAD "hostname = mx.example.org\nlistener \"a\" { protocol = imap port = 1 }\n"

static void
changes_are_named(void **state)
{
	static const struct {
		const char *before;
		const char *after;
		const char *names;
	} table[] = {
	    {HEAD,					     HEAD,								   ""                   },
	    {HEAD,					     HEAD "smtp { max_errors = 3 } relay { retry = {\"1m\"} }\n",            ""                   },
	    {HEAD,					     HEAD "threads = 2\nstore { path = x }\n",                               "threads, store.path"},
	    {HEAD "store { sync = true map_size = 256G }\n",   HEAD,								   ""                   },
	    {HEAD "dns { servers = {\"::1\"} }\n",             HEAD,								   "dns.servers"        },
	    {HEAD "auth { mechanisms = {PLAIN, LOGIN} }\n",
             HEAD "auth { mechanisms = {LOGIN, PLAIN} }\n",									    "auth.mechanisms"    },
	    {HEAD,					     "hostname = mx.example.org\nlistener a { protocol = imap port = 2 }\n",
             "listener \"a\""															       },
	    {HEAD,					     "hostname = mx.example.org\nlistener b { protocol = imap port = 1 }\n",
             "listener \"a\", listener \"b\""													       },
	    {HEAD,					     HEAD "listener c { protocol = pop3 port = 3 }\n",                       "listener \"c\""     },
	    {HEAD "listener c { protocol = pop3 port = 3 }\n", HEAD,                                                                   "listener \"c\""     },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct conf *before = must_parse(table[i].before, "/r");
		struct conf *after = must_parse(table[i].after, "/r");
		struct buf out;
		buf_init(&out, 1000);
		bool any = conf_restart_needed(before, after, &out);
		char *names = slice_to_cstr(buf_slice(&out));
		assert_string_equal(names, table[i].names);
		assert_int_equal(any, *names != 0);
		free(names);
		buf_fini(&out);
		conf_free(&before);
		conf_free(&after);
	}
}

/* Sets the field to some value that is not its default. */
static bool
set_other(const struct conf_key *key, const void *standing, void *base)
{
	static const char *const values[] = {"7", "9", "12", "4100", "5m", "30s", "80M",
	    "9%", "no", "yes", "30d", "x", "::2"};
	struct slice words = slice_from_cstr(key->words);
	size_t v = 0;

	while (words.ptr || v < sizeof(values) / sizeof(values[0])) {
		char *value = words.ptr ? slice_to_cstr(slice_split(&words, '|'))
		                        : xstrdup(values[v++]);
		struct buf why;
		buf_init(&why, 1000);
		bool other = conf_value_set(
				 key, base, NULL, (const char *const *)&value, 1, &why) &&
		             !conf_value_equal(key, standing, base);
		buf_fini(&why);
		free(value);
		if (other)
			return true;
	}
	return false;
}

/* Every row's field is looked at: a value is the same as itself and not as another. */
static void
every_row_is_compared(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		bool listener = strcmp(key->section, "listener") == 0;
		struct conf conf[2] = {0};
		struct conf_listener one[2] = {0};
		void *a = listener ? (void *)&one[0] : (void *)&conf[0];
		void *b = listener ? (void *)&one[1] : (void *)&conf[1];
		if (!key->fallback)
			continue;
		conf_value_set_default(key, a, NULL);
		conf_value_set_default(key, b, NULL);
		assert_true(conf_value_equal(key, a, b));
		if (!set_other(key, a, b))
			fail_msg("%s.%s", key->section, key->name);
		conf_value_free(key, a);
		conf_value_free(key, b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(changes_are_named),
	    cmocka_unit_test(every_row_is_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
