/*
 * Bytes of a named charset to UTF-8.
 *
 * UTF-8, ASCII, ISO-8859-1 and windows-1252 are done here (they are most of all mail, and
 * an iconv handle costs more than a subject is worth); everything else is iconv's.
 * ISO-8859-1 is read as windows-1252, gb2312 as GB18030 and so on: what senders mean by
 * those names, as web browsers do (WHATWG Encoding standard, "names and labels").
 * A name may hold letters, digits and -_.:+ only, so it can never be a path for iconv.
 * Output always is valid UTF-8; a run of what cannot be converted is one U+FFFD.
 *
 * glibc loads a charset's module when a handle is opened and unloads it with the last
 * one: a hundred times what a message is worth.  So each thread keeps the handles of the
 * charsets that it used last; that is all the state there is, and no result shows it.
 */
#include <errno.h>
#include <iconv.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/ensure.h"

#include "text/header.h"
#include "text/utf8_int.h"

enum {
	CHARSET_NAME_MAX = 40, /* bytes */
	HANDLES_MAX = 4,       /* that a thread keeps open */
};

static const struct {
	const char *name;
	const char *meant;
} charset_aliases[] = {
    {"big5",	      "BIG5-HKSCS"  },
    {"cp-850",            "CP850"       },
    {"euc-kr",            "CP949"       },
    {"gb2312",            "GB18030"     },
    {"gb_2312-80",        "GB18030"     },
    {"gbk",	       "GB18030"     },
    {"iso-8859-6-i",      "ISO-8859-6"  },
    {"iso-8859-8-i",      "ISO-8859-8"  },
    {"iso-8859-9",        "CP1254"      },
    {"ks_c_5601-1987",    "CP949"       },
    {"ks_c_5601",         "CP949"       },
    {"shift-jis",         "CP932"       },
    {"shift_jis",         "CP932"       },
    {"unicode-1-1-utf-7", "UTF-7"       },
    {"utf7",	      "UTF-7"       },
    {"x-big5",            "BIG5-HKSCS"  },
    {"x-euc-jp",          "EUC-JP"      },
    {"x-gbk",             "GB18030"     },
    {"x-mac-cyrillic",    "MAC-CYRILLIC"},
    {"x-mac-roman",       "MACINTOSH"   },
    {"x-sjis",            "CP932"       },
    {"x-windows-949",     "CP949"       },
};

/* 0x80 to 0x9f of windows-1252; the five holes stay C1 controls. */
static const uint16_t windows_1252[32] = {0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026,
    0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f, 0x90,
    0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161,
    0x203a, 0x0153, 0x9d, 0x017e, 0x0178};

static void
from_windows_1252(struct slice in, struct buf *out)
{
	char bytes[4];
	for (size_t i = 0; i < in.len; i++) {
		size_t from = i;
		while (i < in.len && !((unsigned char)in.ptr[i] & 0x80))
			i++;
		buf_append(out, slice_sub(in, from, i - from));
		if (i == in.len)
			break;
		unsigned char c = (unsigned char)in.ptr[i];
		uint32_t code = c < 0xa0 ? windows_1252[c - 0x80] : c;
		buf_append(out, slice_make(bytes, utf8_put(code, bytes)));
	}
}

static bool
is_name(struct slice s, const char *a, const char *b)
{
	return slice_equal_nocase(s, slice_from_cstr(a)) ||
	       slice_equal_nocase(s, slice_from_cstr(b));
}

static bool
name_is_safe(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) &&
		    (!c || !strchr("-_.:+", c)))
			return false;
	}
	return name.len > 0 && name.len <= CHARSET_NAME_MAX;
}

static void
from_iconv(iconv_t handle, struct slice in, struct buf *out)
{
	enum { CHUNK = 1024 /* bytes of output at a time */ };
	char chunk[CHUNK];
	char *from = (char *)in.ptr; /* iconv does not write through it */
	size_t left = in.len;
	bool replaced = false;
	while (buf_ok(out)) {
		char *to = chunk;
		size_t room = sizeof(chunk);
		/* The last call, without input, resets a stateful charset. */
		size_t result = left ? iconv(handle, &from, &left, &to, &room)
		                     : iconv(handle, NULL, NULL, &to, &room);
		int err = result == (size_t)-1 ? errno : 0;
		bool last = left == 0 && err == 0;
		if (to != chunk) {
			utf8_append_valid(slice_make(chunk, (size_t)(to - chunk)), out);
			replaced = false;
		}
		if (err == EILSEQ || err == EINVAL) {
			if (!replaced)
				buf_append(out, SLICE(UTF8_REPLACEMENT));
			replaced = true;
			size_t skip = err == EINVAL || left == 0 ? left : 1;
			from += skip;
			left -= skip;
			if (left == 0)
				break;
		} else if (err != 0 && err != E2BIG) {
			break;
		} else if (last) {
			break;
		}
	}
}

/* ---- a thread's handles, the one used last first ---- */
struct handles {
	size_t count;
	struct {
		char name[CHARSET_NAME_MAX + 1];
		iconv_t handle; /* (iconv_t)-1: iconv does not know the name */
	} at[HANDLES_MAX];
};
static pthread_key_t handles_key;
static pthread_once_t handles_once = PTHREAD_ONCE_INIT;

static void
handles_free(void *arg)
{
	struct handles *handles = arg;
	for (size_t i = 0; i < handles->count; i++) {
		if (handles->at[i].handle != (iconv_t)-1)
			iconv_close(handles->at[i].handle);
	}
	free(handles);
}

/* The main thread's end is the process's: destructors do not run for it. */
static void
handles_free_own(void)
{
	struct handles *handles = pthread_getspecific(handles_key);
	if (handles)
		handles_free(handles);
	(void)pthread_setspecific(handles_key, NULL);
}

static void
handles_make_key(void)
{
	ENSURE(pthread_key_create(&handles_key, handles_free) == 0);
	ENSURE(atexit(handles_free_own) == 0);
}

/* Stays the thread's. */
static iconv_t
handle_of(const char *name)
{
	pthread_once(&handles_once, handles_make_key);
	struct handles *handles = pthread_getspecific(handles_key);
	if (!handles) {
		handles = xcalloc(1, sizeof(*handles));
		ENSURE(pthread_setspecific(handles_key, handles) == 0);
	}
	size_t at = 0;
	while (at < handles->count && strcmp(handles->at[at].name, name) != 0)
		at++;
	__typeof__(handles->at[0]) found;
	if (at < handles->count) {
		found = handles->at[at];
	} else {
		slice_copy_cstr(slice_from_cstr(name), found.name, sizeof(found.name));
		found.handle = iconv_open("UTF-8", name);
		if (handles->count < HANDLES_MAX)
			handles->count++;
		else if (handles->at[--at].handle != (iconv_t)-1)
			iconv_close(handles->at[at].handle);
	}
	memmove(&handles->at[1], &handles->at[0], at * sizeof(found));
	handles->at[0] = found;
	if (found.handle != (iconv_t)-1)
		(void)iconv(found.handle, NULL, NULL, NULL, NULL);
	return found.handle;
}

bool
charset_to_utf8(struct slice charset, struct slice in, struct buf *out)
{
	charset = slice_trim(charset);
	if (is_name(charset, "utf-8", "utf8") || is_name(charset, "us-ascii", "ascii") ||
	    is_name(charset, "ansi_x3.4-1968", "unknown-8bit")) {
		utf8_append_valid(in, out);
		return true;
	}
	if (is_name(charset, "iso-8859-1", "windows-1252") ||
	    is_name(charset, "latin1", "cp1252")) {
		from_windows_1252(in, out);
		return true;
	}
	char name[CHARSET_NAME_MAX + 1] = "";
	if (name_is_safe(charset))
		slice_copy_cstr(charset, name, sizeof(name));
	for (size_t i = 0; i < sizeof(charset_aliases) / sizeof(charset_aliases[0]);
	     i++) {
		struct slice meant = slice_from_cstr(charset_aliases[i].meant);
		if (slice_equal_nocase(charset, slice_from_cstr(charset_aliases[i].name)))
			slice_copy_cstr(meant, name, sizeof(name));
	}
	iconv_t handle = name[0] ? handle_of(name) : (iconv_t)-1;
	if (handle == (iconv_t)-1) {
		utf8_append_valid(in, out);
		return false;
	}
	from_iconv(handle, in, out);
	return true;
}
