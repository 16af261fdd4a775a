/*
 * Texts of the results.  The table in status.h is the only list; this file turns it into
 * an array and knows which errno means what.  Pure; any thread.
 */
#include "base/status.h"

#include <errno.h>

#define STATUS_NAME(name, text) [STATUS_##name] = (text),
static const char *const status_texts[] = {STATUS_TABLE(STATUS_NAME)};
#undef STATUS_NAME

_Static_assert(sizeof(status_texts) / sizeof(status_texts[0]) == STATUS_COUNT_,
    "every status has a text");

const char *
status_text(enum status status)
{
	if ((unsigned)status >= STATUS_COUNT_)
		return "not a status";
	return status_texts[status];
}

enum status
status_from_errno(int err)
{
	switch (err) {
	case 0:
		return STATUS_OK;
	case ENOSPC:
	case EDQUOT:
		return STATUS_FULL;
	case EROFS:
		return STATUS_READ_ONLY;
	case ENOENT:
		return STATUS_NOT_FOUND;
	case EAGAIN:
	case EMFILE: /* passes: another file is closed, memory is given back */
	case ENFILE:
	case ENOMEM:
		return STATUS_BUSY;
	default:
		return STATUS_IO;
	}
}
