/*
 * The one result type of Postroom.  Three kinds of trouble are never mixed (decision
 * 0008): our bugs abort through ENSURE, the world's failures are an enum status, and a
 * client's mistakes are parse results or reply values that never become a status.
 *
 * The table below is the only place that names a status; protocol words do not belong
 * here.  Each daemon's *_resp file maps status to its own replies.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

/* clang-format off */
#define STATUS_TABLE(X)                                                  \
	X(OK,         "ok")                                              \
	X(NOT_FOUND,  "not found")                                       \
	X(EXISTS,     "exists already")                                  \
	X(BUSY,       "busy, try again")                                 \
	X(QUOTA,      "over quota")                                      \
	X(FULL,       "no space left")                                   \
	X(READ_ONLY,  "read-only")                                       \
	X(CORRUPT,    "damaged record")                                  \
	X(IO,         "input/output error")                              \
	X(LIMIT,      "over a limit")                                    \
	X(TIMEOUT,    "timed out")                                       \
	X(CLOSED,     "closed")                                          \
	X(INVALID,    "not valid")                                       \
	X(DENIED,     "not allowed")                                     \
	X(UNKNOWN,    "outcome unknown")                                 \
	X(CONFLICT,   "changed in between")
/* clang-format on */

enum status {
#define STATUS_ENUM(name, text) STATUS_##name,
	STATUS_TABLE(STATUS_ENUM)
#undef STATUS_ENUM
	    STATUS_COUNT_
};

/* Every function that returns a status wants it looked at. */
#define MUST_USE __attribute__((warn_unused_result))

/* The status's text, lower case, without a full stop.  Never null. */
const char *status_text(enum status status);

/* The status that an errno value stands for: ENOSPC and EDQUOT are FULL, EROFS READ_ONLY,
 * ENOENT NOT_FOUND, EAGAIN, EMFILE, ENFILE and ENOMEM BUSY, all else IO; 0 is OK. */
enum status status_from_errno(int err);

#endif
