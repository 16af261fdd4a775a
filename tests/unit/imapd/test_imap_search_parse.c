/*
 * Search programs: what is taken, refused, limited; order of keys by cost; charsets;
 * cuts.
 */
#include "imapd/imap_search_parse.h"

#include "imapd/imap_cmd.h"
#include "unit/imapd/box.h"

static struct arena *arena;

#define S(text)                                                                          \
	{                                                                                \
		"" text "", sizeof(text) - 1                                             \
	}

typedef enum parse_result (*parse_fn)(struct imap_lex *lex, struct arena *arena,
    struct imap_command *cmd, struct parse_fault *fault);

static enum parse_result
parse(parse_fn fn, struct slice text, struct imap_search_args **out,
    struct parse_fault *fault)
{
	struct imap_lex lex;
	struct imap_command cmd = {0};
	imap_lex_init(&lex, text, arena);
	enum parse_result result = fn(&lex, arena, &cmd, fault);
	if (result == PARSE_DONE && !imap_lex_end(&lex))
		result = imap_lex_result(&lex, fault);
	*out = cmd.u.search;
	return result;
}

static const struct {
	parse_fn fn;
	struct slice in;
} good[] = {
    {imap_parse_search,  S(" ALL")						       },
    {imap_parse_search,  S(" 1:5,7 *")						   },
    {imap_parse_search,  S(" $")							 },
    {imap_parse_search,  S(" UID 1:*")						   },
    {imap_parse_search,  S(" UID $")						     },
    {imap_parse_search,  S(" ANSWERED DELETED DRAFT FLAGGED SEEN RECENT NEW OLD")        },
    {imap_parse_search,  S(" unanswered UNDELETED UNDRAFT UNFLAGGED UNSEEN")             },
    {imap_parse_search,  S(" KEYWORD $Junk UNKEYWORD x")                                 },
    {imap_parse_search,  S(" FROM \"a\" TO b CC {1}\r\nc BCC d SUBJECT \"\"")            },
    {imap_parse_search,  S(" BODY x TEXT y HEADER X-A \"\" HEADER Message-ID <a@b>")     },
    {imap_parse_search,  S(" BEFORE 1-Feb-1994 ON \"1-Feb-1994\" SINCE 01-Feb-1994")     },
    {imap_parse_search,
     S(" SENTBEFORE 1-Feb-1994 SENTON 1-Feb-1994 SENTSINCE 1-Feb-1994")                  },
    {imap_parse_search,
     S(" SAVEDBEFORE 1-Feb-1994 SAVEDON 1-Feb-1994 SAVEDATESUPPORTED")                   },
    {imap_parse_search,
     S(" UIDAFTER 1 UIDBEFORE 4294967295 OR UIDAFTER 4294967295 UIDBEFORE 1")            },
    {imap_parse_search,  S(" OLDER 60 YOUNGER 1 LARGER 0 SMALLER 9999999999")            },
    {imap_parse_search,  S(" MODSEQ 5 MODSEQ \"/flags/\\\\draft\" all 7")                },
    {imap_parse_search,  S(" EMAILID M1-2 THREADID T5")                                  },
    {imap_parse_search,  S(" NOT SEEN OR FROM a (TO b NOT (CC c))")                      },
    {imap_parse_search,  S(" CHARSET UTF-8 SUBJECT {2}\r\n\xc3\xa4")                     },
    {imap_parse_search,  S(" CHARSET ISO-8859-1 SUBJECT {1}\r\n\xe4")                    },
    {imap_parse_search,  S(" RETURN () ALL")					     },
    {imap_parse_search,  S(" RETURN (MIN MAX COUNT ALL SAVE) CHARSET \"utf-8\" ALL")     },
    {imap_parse_search,  S(" RETURN (PARTIAL 1:500) ALL")                                },
    {imap_parse_search,  S(" RETURN (PARTIAL -1:-100 COUNT) ALL ")                       },
    {imap_parse_search,
     S(" FUZZY SUBJECT \"a b  c\" FUZZY (FROM x OR BODY \"\" TEXT \" \")")               },
    {imap_parse_search,  S(" RETURN (RELEVANCY) FUZZY NOT FUZZY HEADER a {1}\r\nb")      },
    {imap_parse_esearch, S(" ALL")						       },
    {imap_parse_esearch, S(" IN (selected) RETURN (SAVE) CHARSET UTF-8 SEEN")            },
    {imap_parse_esearch, S(" in (personal subscribed inboxes) 1:5 UID 7")                },
    {imap_parse_esearch,
     S(" IN (subtree (a {1}\r\nb) subtree-one \"c\" mailboxes d) ALL")                   },
    {imap_parse_sort,    S(" (REVERSE RELEVANCY) UTF-8 NOT FUZZY SEEN")                  },
    {imap_parse_search,  S(" RETURN (UPDATE CONTEXT) ALL")                               },
    {imap_parse_search,
     S(" RETURN (COUNT UPDATE (UID FLAGS BODY.PEEK[HEADER]) MIN) ALL")                   },
    {imap_parse_sort,    S(" RETURN (UPDATE (ENVELOPE)) (DATE) UTF-8 ALL")               },
    {imap_parse_sort,    S(" (SUBJECT REVERSE DATE) UTF-8 ALL")                          },
    {imap_parse_sort,    S(" RETURN (COUNT) (ARRIVAL CC FROM SIZE TO DISPLAYFROM) x ALL")},
    {imap_parse_thread,  S(" REFERENCES US-ASCII SINCE 1-Feb-2020")                      },
    {imap_parse_thread,  S(" REFS UTF-8 ALL")					    },
    {imap_parse_thread,  S(" orderedsubject UTF-8 ALL")                                  },
};

static void
taken(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct imap_search_args *args;
		struct parse_fault fault = {0};
		struct edge e = edge_copy(good[i].in);
		arena_reset(arena);
		if (parse(good[i].fn, e.text, &args, &fault) != PARSE_DONE)
			fail_msg("%.*s: %s", SLICE_ARG(good[i].in), fault.text);
		edge_free(&e);
		for (size_t n = 0; n < good[i].in.len; n++) {
			struct edge cut = edge_copy(slice_sub(good[i].in, 0, n));
			arena_reset(arena);
			(void)parse(good[i].fn, cut.text, &args, &fault);
			edge_free(&cut);
		}
	}
}

static const struct {
	parse_fn fn;
	struct slice in;
} bad[] = {
    {imap_parse_search,  S("")				},
    {imap_parse_search,  S(" ")			       },
    {imap_parse_search,  S(" FOO")                            },
    {imap_parse_search,  S(" ()")                             },
    {imap_parse_search,  S(" (ALL")                           },
    {imap_parse_search,  S(" ALL)")                           },
    {imap_parse_search,  S(" NOT")                            },
    {imap_parse_search,  S(" OR SEEN")                        },
    {imap_parse_search,  S(" FROM")                           },
    {imap_parse_search,  S(" HEADER a")                       },
    {imap_parse_search,  S(" BEFORE 31-Feb-1994")             },
    {imap_parse_search,  S(" BEFORE x")                       },
    {imap_parse_search,  S(" UIDAFTER 0")                     },
    {imap_parse_search,  S(" UIDBEFORE *")                    },
    {imap_parse_search,  S(" UIDAFTER 4294967296")            },
    {imap_parse_search,  S(" UIDBEFORE 1:2")                  },
    {imap_parse_search,  S(" OLDER 0")                        },
    {imap_parse_search,  S(" LARGER -1")                      },
    {imap_parse_search,  S(" UID x")                          },
    {imap_parse_search,  S(" 0")                              },
    {imap_parse_search,  S(" KEYWORD \\Seen")                 },
    {imap_parse_search,  S(" MODSEQ \"/flags/x\" 5")          },
    {imap_parse_search,  S(" RETURN ALL")                     },
    {imap_parse_search,  S(" RETURN (FOO) ALL")               },
    {imap_parse_search,  S(" RETURN (ALL PARTIAL 1:2) ALL")   },
    {imap_parse_esearch, S(" IN ALL")                         },
    {imap_parse_esearch, S(" IN () ALL")                      },
    {imap_parse_esearch, S(" IN (selected-delayed) ALL")      },
    {imap_parse_esearch, S(" IN (subtree ()) ALL")            },
    {imap_parse_esearch, S(" IN (personal) RETURN (SAVE) ALL")},
    {imap_parse_esearch, S(" IN (personal (x y)) ALL")        },
    {imap_parse_esearch, S(" RETURN (ALL) IN (personal) ALL") },
    {imap_parse_search,  S(" FUZZY")                          },
    {imap_parse_search,  S(" RETURN (RELEVANCY) ALL")         },
    {imap_parse_sort,    S(" (RELEVANCY) UTF-8 ALL")          },
    {imap_parse_search,  S(" RETURN (UPDATE ()) ALL")         },
    {imap_parse_search,  S(" RETURN (UPDATE (FOO)) ALL")      },
    {imap_parse_search,  S(" RETURN (UPDATE UID) ALL")        },
    {imap_parse_search,  S(" RETURN (UPDATE (UID ALL")        },
    {imap_parse_search,  S(" RETURN (MIN)")                   },
    {imap_parse_search,  S(" CHARSET UTF-8")                  },
    {imap_parse_sort,    S(" () UTF-8 ALL")                   },
    {imap_parse_sort,    S(" (FOO) UTF-8 ALL")                },
    {imap_parse_sort,    S(" (REVERSE) UTF-8 ALL")            },
    {imap_parse_sort,    S(" (DATE) UTF-8")                   },
    {imap_parse_thread,  S(" FOO UTF-8 ALL")                  },
    {imap_parse_thread,  S(" REFERENCES UTF-8")               },
};

static void
refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct imap_search_args *args;
		struct parse_fault fault = {0};
		arena_reset(arena);
		if (parse(bad[i].fn, bad[i].in, &args, &fault) != PARSE_BAD)
			fail_msg("taken: %.*s", SLICE_ARG(bad[i].in));
		assert_non_null(fault.text);
	}
}

static void
ordered_by_cost(void **state)
{
	(void)state;
	struct imap_search_args *args;
	struct parse_fault fault;
	arena_reset(arena);
	assert_int_equal(
	    parse(imap_parse_search,
		SLICE(" BODY x FROM y OR TEXT z SEEN SENTON 1-Jan-2020 FLAGGED 1:5"),
		&args, &fault),
	    PARSE_DONE);
	static const enum imap_search_key want[] = {IMAP_SEARCH_FLAGS, IMAP_SEARCH_MSN,
	    IMAP_SEARCH_SENT_ON, IMAP_SEARCH_HEADER, IMAP_SEARCH_BODY, IMAP_SEARCH_OR};
	size_t i = 0;
	for (const struct imap_search_node *n = args->root->child; n; n = n->next)
		assert_int_equal(n->key, want[i++]);
	assert_int_equal(i, 6);
	const struct imap_search_node *n = args->root->child;
	while (n->key != IMAP_SEARCH_OR)
		n = n->next;
	assert_int_equal(n->child->key, IMAP_SEARCH_FLAGS);
	assert_int_equal(n->cost, IMAP_SEARCH_COST_BODY);
	assert_int_equal(args->root->cost, IMAP_SEARCH_COST_BODY);
}

static void
text_is_folded(void **state)
{
	(void)state;
	struct imap_search_args *args;
	struct parse_fault fault;
	arena_reset(arena);
	assert_int_equal(
	    parse(imap_parse_search, SLICE(" CHARSET ISO-8859-1 SUBJECT {2}\r\nA\xc4"),
		&args, &fault),
	    PARSE_DONE);
	assert_false(args->bad_charset);
	assert_true(slice_equal(args->root->child->text, SLICE("aa\xcc\x88")));
	assert_true(slice_equal(args->root->child->name, SLICE("Subject")));
	assert_int_equal(
	    parse(imap_parse_search, SLICE(" CHARSET no-such ALL"), &args, &fault),
	    PARSE_DONE);
	assert_true(args->bad_charset);
}

static void
limits(void **state)
{
	(void)state;
	struct imap_search_args *args;
	struct parse_fault fault;
	struct buf text;
	buf_init(&text, 1024 * 1024);
	arena_reset(arena);
	for (int i = 0; i < IMAP_SEARCH_DEPTH_MAX; i++)
		buf_append(&text, SLICE(" NOT"));
	buf_append(&text, SLICE(" ALL"));
	assert_int_equal(
	    parse(imap_parse_search, buf_slice(&text), &args, &fault), PARSE_LIMIT);
	buf_reset(&text);
	buf_append_byte(&text, ' ');
	for (int i = 0; i < 100000; i++)
		buf_append_byte(&text, '(');
	assert_int_equal(
	    parse(imap_parse_search, buf_slice(&text), &args, &fault), PARSE_LIMIT);
	buf_reset(&text);
	for (int i = 0; i < IMAP_SEARCH_KEYS_MAX; i++)
		buf_append(&text, SLICE(" ALL"));
	assert_int_equal(
	    parse(imap_parse_search, buf_slice(&text), &args, &fault), PARSE_LIMIT);
	buf_reset(&text);
	buf_append(&text, SLICE(" BODY "));
	for (int i = 0; i <= IMAP_SEARCH_TEXT_MAX; i++)
		buf_append_byte(&text, 'a');
	assert_int_equal(
	    parse(imap_parse_search, buf_slice(&text), &args, &fault), PARSE_LIMIT);
	buf_fini(&text);
}

static int
setup(void **state)
{
	(void)state;
	arena = arena_new(16 * 1024 * 1024);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(taken),
	    cmocka_unit_test(refused),
	    cmocka_unit_test(ordered_by_cost),
	    cmocka_unit_test(text_is_folded),
	    cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
