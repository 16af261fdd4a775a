/*
 * Values: durations, sizes and what each type of the schema takes and refuses.
 */
#include "unit/conf/conf_dump.h"

static void
durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
	    {"0",     0         },
	    {"0s",    0         },
	    {"250ms", 250       },
	    {"30s",   30000     },
	    {"5m",    300000    },
	    {"4h",    14400000  },
	    {"5d",    432000000 },
	    {"2w",    1209600000},
	    {"1H",    3600000   },
	};
	static const char *const bad[] = {"", "5", "m", "5 m", "-5m", "5x", "5mm", "1.5h",
	    "99999999999999999999s", "18446744073709551615d", "5m ", " 5m", "+5m"};
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(conf_parse_duration_ms(slice_from_cstr(good[i].text), &ms));
		assert_int_equal(ms, good[i].ms);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(conf_parse_duration_ms(slice_from_cstr(bad[i]), &ms));
	assert_false(conf_parse_duration_ms(SLICE_NULL, &ms));
}

static void
sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
	    {"0",    0		      },
	    {"1500", 1500                   },
	    {"64K",  65536                  },
	    {"25M",  26214400               },
	    {"1g",   1073741824             },
	    {"2T",   UINT64_C(2199023255552)},
	};
	static const char *const bad[] = {
	    "", "M", "5MB", "5 M", "-1", "1.5G", "99999999T", "0x10"};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(conf_parse_size(slice_from_cstr(good[i].text), &bytes));
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(conf_parse_size(slice_from_cstr(bad[i]), &bytes));
}

static const struct conf_key *
key_of(const char *section, const char *name)
{
	const struct conf_key *key =
	    conf_key_find(slice_from_cstr(section), slice_from_cstr(name));

	assert_non_null(key);
	return key;
}

/* Every row: its default holds, its bounds hold, one past each does not. */
static void
bounds_of_every_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		bool listener = strcmp(key->section, "listener") == 0;
		struct conf conf = {0};
		struct conf_listener one = {0};
		void *base = listener ? (void *)&one : (void *)&conf;
		uint64_t tries[4];
		size_t count = 0;

		assert_true(strlen(key->help) > 0 && strlen(key->help) < 120);
		assert_null(strchr(key->help, '|'));
		conf_value_set_default(key, base, NULL);
		if (key->type != CONF_TYPE_U16 && key->type != CONF_TYPE_U32 &&
		    key->type != CONF_TYPE_SIZE && key->type != CONF_TYPE_DURATION_MS &&
		    key->type != CONF_TYPE_DURATION_S && key->type != CONF_TYPE_PERCENT) {
			conf_value_free(key, base);
			continue;
		}
		tries[count++] = key->min;
		tries[count++] = key->max;
		tries[count++] = key->max + 1;
		if (key->min > 0)
			tries[count++] = key->min - 1;
		for (size_t t = 0; t < count; t++) {
			struct buf text, why;
			buf_init(&text, 100);
			buf_init(&why, 1000);
			conf_value_write_number(key, tries[t], &text);
			char *value = slice_to_cstr(buf_slice(&text));
			bool ok = conf_value_set(
			    key, base, NULL, (const char *const *)&value, 1, &why);
			assert_int_equal(ok, t < 2);
			assert_int_equal(ok, why.len == 0);
			free(value);
			buf_fini(&text);
			buf_fini(&why);
		}
		conf_value_free(key, base);
	}
}

struct one_value {
	const char *section;
	const char *name;
	const char *value;
	const char *stored; /* null: refused, and then `why` has this */
	const char *why;
};

static void
words_and_addresses(void **state)
{
	static const struct one_value table[] = {
	    {"relay",    "prefer",              "IPv4",            "ipv4",           NULL                },
	    {"relay",    "prefer",              "both",            NULL,             "auto, ipv4 or ipv6"},
	    {"tls",      "min_version",         "1.3",             "1.3",            NULL                },
	    {"tls",      "min_version",         "1.1",             NULL,             "1.2 or 1.3"        },
	    {"auth",     "mechanisms",          "scram-sha-1",     "SCRAM-SHA-1",    NULL                },
	    {"auth",     "mechanisms",          "CRAM-MD5",        NULL,             "SCRAM-SHA-256"     },
	    {"listener", "address",             "::1",             "[::1]",          NULL                },
	    {"listener", "address",             "[::1]",           "[::1]",          NULL                },
	    {"listener", "address",             "[2001:DB8::0:1]", "[2001:db8::1]",  NULL                },
	    {"listener", "address",             "127.0.0.1",       "127.0.0.1",      NULL                },
	    {"listener", "address",             "[127.0.0.1]",     NULL,             "192.0.2.1"         },
	    {"listener", "address",             "localhost",       NULL,             "192.0.2.1"         },
	    {"listener", "address",             "127.1",           NULL,             "no address"        },
	    {"listener", "address",             "",                NULL,             "no address"        },
	    {"listener", "address",             "[]",              NULL,             "no address"        },
	    {"dns",      "servers",             "[::1]@5353",      "::1@5353",       NULL                },
	    {"dns",      "servers",             "9.9.9.9",         "9.9.9.9",        NULL                },
	    {"dns",      "servers",             "9.9.9.9@0",       NULL,             "name server"       },
	    {"dns",      "servers",             "9.9.9.9@",        NULL,             "name server"       },
	    {"dns",      "servers",             "9.9.9.9@65536",   NULL,             "name server"       },
	    {"smtp",     "trusted_networks",    "127.0.0.0/8",     "127.0.0.0/8",    NULL                },
	    {"smtp",     "trusted_networks",    "[::1]/128",       "::1/128",        NULL                },
	    {"smtp",     "trusted_networks",    "10.1.2.3",        "10.1.2.3/32",    NULL                },
	    {"smtp",     "trusted_networks",    "::/0",            "::/0",           NULL                },
	    {"smtp",     "trusted_networks",    "10.1.2.3/9",      NULL,             "10.0.0.0/9"        },
	    {"smtp",     "trusted_networks",    "10.0.0.0/33",     NULL,             "no network"        },
	    {"smtp",     "trusted_networks",    "10.0.0.0/",       NULL,             "no network"        },
	    {"smtp",     "trusted_networks",    "10.0.0.0/8/8",    NULL,             "no network"        },
	    {"",         "hostname",            "mx.example.org",  "mx.example.org", NULL                },
	    {"",         "hostname",            "localhost",       "localhost",      NULL                },
	    {"",         "hostname",            "mx..org",         NULL,             "no host name"      },
	    {"",         "hostname",            "-a.org",          NULL,             "no host name"      },
	    {"",         "hostname",            "a_b.org",         NULL,             "no host name"      },
	    {"",         "hostname",            "a.org.",          NULL,             "no host name"      },
	    {"",         "hostname",            "",                NULL,             "no host name"      },
	    {"smtp",     "recipient_delimiter", "+-",              NULL,             "0 to 1"            },
	    {"smtp",     "recipient_delimiter", "",                "",               NULL                },
	    {"",         "user",                "",                NULL,             "1 to 32"           },
	    {"",         "user",                "a\tb",            NULL,             "control"           },
	    {"store",    "path",                "mail",            "/root/mail",     NULL                },
	    {"store",    "path",                "/mail",           "/mail",          NULL                },
	    {"log",      "to",                  "stderr",          "stderr",         NULL                },
	    {"log",      "to",                  "x.log",           "/root/x.log",    NULL                },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct one_value *v = &table[i];
		const struct conf_key *key = key_of(v->section, v->name);
		struct conf conf = {0};
		struct conf_listener one = {0};
		void *base = *v->section == 'l' && v->section[1] == 'i' ? (void *)&one
		                                                        : (void *)&conf;
		struct buf why;
		buf_init(&why, 1000);
		bool ok = conf_value_set(key, base, "/root", &v->value, 1, &why);
		const void *field = (char *)base + key->offset;
		if (ok != (v->stored != NULL))
			fail_msg("%s = '%s': %.*s", v->name, v->value,
			    SLICE_ARG(buf_slice(&why)));
		if (ok && conf_key_is_list(key))
			assert_string_equal(
			    ((const struct conf_list *)field)->items[0], v->stored);
		else if (ok)
			assert_string_equal(*(char *const *)field, v->stored);
		else if (slice_find(buf_slice(&why), slice_from_cstr(v->why)) == SIZE_MAX)
			fail_msg(
			    "'%s' is not in '%.*s'", v->why, SLICE_ARG(buf_slice(&why)));
		conf_value_free(key, base);
		buf_fini(&why);
	}
}

static void
booleans_and_days(void **state)
{
	static const char *const yes[] = {"true", "yes", "on", "TRUE"};
	static const char *const no[] = {"false", "no", "off"};
	static const char *const neither[] = {"1", "", "maybe", "tru"};
	const struct conf_key *key = key_of("pop3", "delete_on_retrieval");
	const struct conf_key *days = key_of("pop3", "expire");
	struct conf conf = {0};
	struct buf why;

	(void)state;
	buf_init(&why, 1000);
	for (size_t i = 0; i < 4; i++) {
		assert_true(conf_value_set(key, &conf, NULL, &yes[i], 1, &why));
		assert_true(conf.pop3.delete_on_retrieval);
	}
	for (size_t i = 0; i < 3; i++) {
		assert_true(conf_value_set(key, &conf, NULL, &no[i], 1, &why));
		assert_false(conf.pop3.delete_on_retrieval);
	}
	for (size_t i = 0; i < 4; i++)
		assert_false(conf_value_set(key, &conf, NULL, &neither[i], 1, &why));
	static const char *const good_days[] = {"30d", "30", "never"};
	static const uint32_t want_days[] = {30, 30, 0};
	for (size_t i = 0; i < 3; i++) {
		assert_true(conf_value_set(days, &conf, NULL, &good_days[i], 1, &why));
		assert_int_equal(conf.pop3.expire_days, want_days[i]);
	}
	static const char *const bad_days[] = {"0", "d", "3651", "30h", ""};
	for (size_t i = 0; i < 5; i++)
		assert_false(conf_value_set(days, &conf, NULL, &bad_days[i], 1, &why));
	buf_fini(&why);
}

static void
nearest_names(void **state)
{
	(void)state;
	assert_string_equal(
	    conf_nearest("smtp", SLICE("max_recipient")), "max_recipients");
	assert_string_equal(conf_nearest("smtp", SLICE("MAX_ERRORS")), "max_errors");
	assert_string_equal(conf_nearest(NULL, SLICE("sntp")), "smtp");
	assert_string_equal(conf_nearest(NULL, SLICE("host_name")), "hostname");
	assert_null(conf_nearest("smtp", SLICE("greylist")));
	assert_null(conf_nearest(NULL, SLICE("")));
	assert_null(
	    conf_nearest(NULL, SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(durations),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(bounds_of_every_row),
	    cmocka_unit_test(words_and_addresses),
	    cmocka_unit_test(booleans_and_days),
	    cmocka_unit_test(nearest_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
