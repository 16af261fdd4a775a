/*
 * Which files a configuration names: what a backup has to have beside the store.
 */
#include "conf/conf_int.h"

/* What is written to, and folders. */
static bool
is_output(const struct conf_key *key)
{
	static const char *const outputs[][2] = {
	    {"",      "run_dir"},
	    {"store", "path"   },
	    {"log",   "to"     },
	    {"log",   "dir"    },
	};
	for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++)
		if (strcmp(key->section, outputs[i][0]) == 0 &&
		    strcmp(key->name, outputs[i][1]) == 0)
			return true;
	return false;
}

void
conf_files_each(
    const struct conf *conf, void (*fn)(const char *path, void *arg), void *arg)
{
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		if (key->type != CONF_TYPE_PATH || is_output(key) ||
		    strcmp(key->section, "listener") == 0)
			continue;
		const char *path =
		    *(char *const *)(const void *)((const char *)conf + key->offset);
		if (path && path[0] == '/')
			fn(path, arg);
	}
}
