/*
 * Masks of capabilities; see imap_mask.h.  The bits are places in the table of
 * capabilities (imap_cmd.c).
 */
#include "imapd/imap_mask.h"

#include <string.h>

static struct slice
trim(struct slice s)
{
	while (s.len > 0 && s.ptr[0] == ' ')
		s = slice_from(s, 1);
	while (s.len > 0 && s.ptr[s.len - 1] == ' ')
		s.len--;
	return s;
}

uint64_t
imap_mask_names(struct slice names)
{
	uint64_t bits = 0;

	while (names.len > 0) {
		size_t end = 0;
		while (end < names.len && names.ptr[end] != ',' && names.ptr[end] != ' ')
			end++;
		bits |= imap_capability_bit(slice_sub(names, 0, end));
		names = slice_from(names, end + 1);
	}
	return bits;
}

uint64_t
imap_mask_client(struct slice rules, struct slice client)
{
	while (rules.len > 0) {
		struct slice names = slice_split(&rules, ';');
		struct slice pattern = trim(slice_split(&names, '='));
		if (!names.ptr || pattern.len == 0)
			continue;
		if (slice_equal(pattern, SLICE("*")) ||
		    (client.len >= pattern.len &&
			slice_equal_nocase(slice_sub(client, 0, pattern.len), pattern)))
			return imap_mask_names(names);
	}
	return 0;
}

bool
imap_mask_hides(uint64_t masked, struct slice command)
{
	static const struct {
		const char *command;
		const char *capabilities; /* any of them brings it */
	} commands[] = {
	    {"CANCELUPDATE",   "CONTEXT=SEARCH,CONTEXT=SORT"                        },
	    {"COMPRESS",       "COMPRESS=DEFLATE"                                   },
	    {"DELETEACL",      "ACL"						},
	    {"ENABLE",         "ENABLE"					     },
	    {"GETACL",         "ACL"						},
	    {"GETMETADATA",    "METADATA,METADATA-SERVER"                           },
	    {"ESEARCH",        "MULTISEARCH"					},
	    {"GETQUOTA",       "QUOTA"					      },
	    {"GETQUOTAROOT",   "QUOTA"					      },
	    {"ID",             "ID"						 },
	    {"IDLE",           "IDLE"					       },
	    {"LISTRIGHTS",     "ACL"						},
	    {"MOVE",           "MOVE"					       },
	    {"MYRIGHTS",       "ACL"						},
	    {"NAMESPACE",      "NAMESPACE"					  },
	    {"NOTIFY",         "NOTIFY"					     },
	    {"REPLACE",        "REPLACE"					    },
	    {"SETACL",         "ACL"						},
	    {"SETMETADATA",    "METADATA,METADATA-SERVER"                           },
	    {"SETQUOTA",       "QUOTASET"					   },
	    {"SORT",           "SORT"					       },
	    {"THREAD",         "THREAD=ORDEREDSUBJECT,THREAD=REFERENCES,THREAD=REFS"},
	    {"UNAUTHENTICATE", "UNAUTHENTICATE"                                     },
	    {"UNSELECT",       "UNSELECT"					   },
	};

	for (size_t i = 0; masked && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (!slice_equal_nocase(command, slice_from_cstr(commands[i].command)))
			continue;
		uint64_t needs =
		    imap_mask_names(slice_from_cstr(commands[i].capabilities));
		return needs != 0 && (needs & ~masked) == 0;
	}
	return false;
}
