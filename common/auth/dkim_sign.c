/*
 * DKIM signatures of messages; see dkim_sign.h.
 *
 * Of fields with the same name the last one is signed first (RFC 6376 section 5.4.2).
 * All of a name are signed, so one more name in h= says: there is no further one.
 */
#include "auth/dkim_sign.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "text/encoding.h"
#include "text/header.h"

/* Section 5.4.1; Received and the like change on the way. */
static const struct {
	const char *name;
	bool once_more;
} signed_names[] = {
    {"from",		      true },
    {"reply-to",		  true },
    {"subject",		   true },
    {"date",		      true },
    {"to",			true },
    {"cc",			true },
    {"message-id",                true },
    {"sender",		    true },
    {"mime-version",              true },
    {"content-type",              true },
    {"content-transfer-encoding", true },
    {"content-disposition",       true },
    {"list-unsubscribe",          true },
    {"list-unsubscribe-post",     true },
    {"in-reply-to",               false},
    {"references",                false},
    {"content-id",                false},
    {"content-description",       false},
    {"list-id",		   false},
    {"list-help",                 false},
    {"list-subscribe",            false},
    {"list-post",                 false},
    {"list-owner",                false},
    {"list-archive",              false},
    {"feedback-id",               false},
    {"resent-from",               false},
    {"resent-date",               false},
    {"resent-to",                 false},
    {"resent-cc",                 false},
    {"resent-message-id",         false},
};
enum { SIGNED_NAMES = sizeof(signed_names) / sizeof(signed_names[0]) };

/* ---- the message ---- */

static void
hash_sink(struct slice bytes, void *arg)
{
	ENSURE(EVP_DigestUpdate(arg, bytes.ptr, bytes.len) == 1);
}

void
dkim_body_hash(
    enum dkim_canon form, struct slice body, unsigned char out[DKIM_HASH_BYTES])
{
	struct dkim_body state;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	ENSURE(context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
	dkim_body_init(&state, form, hash_sink, context);
	dkim_body_feed(&state, body);
	dkim_body_end(&state);
	ENSURE(EVP_DigestFinal_ex(context, out, NULL) == 1);
	EVP_MD_CTX_free(context);
}

struct found {
	size_t name; /* in signed_names */
	struct slice whole;
};

static size_t
name_find(struct slice name)
{
	size_t i = 0;
	while (i < SIGNED_NAMES &&
	       !slice_equal_nocase(name, slice_from_cstr(signed_names[i].name)))
		i++;
	return i;
}

/* The fields of the list, in order of the message; false: too many. */
static bool
fields_find(struct slice block, struct found **out, size_t *out_count)
{
	struct header_iter it;
	struct header_field field;
	struct found *found = NULL;
	size_t count = 0, room = 0, fields = 0;
	header_iter_init(&it, block);
	while (header_iter_next(&it, &field)) {
		if (++fields >= DKIM_FIELDS_MAX) {
			free(found);
			return false;
		}
		size_t name = name_find(field.name);
		if (name == SIGNED_NAMES)
			continue;
		if (count == room) {
			room = room ? 2 * room : 32;
			found = xrealloc(found, room * sizeof(*found));
		}
		found[count++] = (struct found){name, field.whole};
	}
	*out = found;
	*out_count = count;
	return true;
}

static void
name_add(struct dkim_fields *fields, size_t name)
{
	if (fields->names.len > 0)
		buf_append_byte(&fields->names, ':');
	buf_append_cstr(&fields->names, signed_names[name].name);
}

bool
dkim_fields_make(struct slice block, struct dkim_fields *out)
{
	struct found *found;
	size_t count;
	bool from = false;
	if (!fields_find(block, &found, &count))
		return false;
	buf_init(&out->names, DKIM_SIGNED_MAX);
	buf_init(&out->canonical, DKIM_SIGNED_MAX);
	for (size_t name = 0; name < SIGNED_NAMES; name++) {
		for (size_t i = count; i-- > 0;) {
			if (found[i].name != name)
				continue;
			from |= name == 0;
			name_add(out, name);
			dkim_field_canon(DKIM_RELAXED, found[i].whole, &out->canonical);
		}
		if (signed_names[name].once_more)
			name_add(out, name);
	}
	free(found);
	if (from && buf_ok(&out->names) && buf_ok(&out->canonical))
		return true;
	dkim_fields_fini(out);
	return false;
}

void
dkim_fields_fini(struct dkim_fields *fields)
{
	buf_fini(&fields->names);
	buf_fini(&fields->canonical);
}

/* ---- the field ---- */

/* A piece that is not broken, after a fold (which stands for a blank at its front) if the
 * line would be too long. */
static void
piece_add(struct buf *out, size_t *line, struct slice piece)
{
	if (*line + piece.len > DKIM_LINE_MAX) {
		buf_append(out, SLICE("\r\n "));
		*line = 1;
		if (piece.ptr[0] == ' ')
			piece = slice_from(piece, 1);
	}
	buf_append(out, piece);
	*line += piece.len;
}

static void
tag_add(struct buf *out, size_t *line, const char *tag, struct slice value)
{
	struct buf piece AUTO_BUF;
	buf_init(&piece, DKIM_FIELD_MAX);
	buf_append_format(&piece, " %s=", tag);
	buf_append(&piece, value);
	buf_append_byte(&piece, ';');
	piece_add(out, line, buf_slice(&piece));
}

static void
number_add(struct buf *out, size_t *line, const char *tag, int64_t value)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%lld", (long long)value);
	tag_add(out, line, tag, slice_make(text, (size_t)len));
}

/* May be folded behind each colon. */
static void
names_add(struct buf *out, size_t *line, struct slice names)
{
	piece_add(out, line, SLICE(" h="));
	while (names.ptr) {
		size_t colon = slice_index(names, ':');
		size_t len = colon == SIZE_MAX ? names.len : colon + 1;
		piece_add(out, line, slice_sub(names, 0, len));
		names = colon == SIZE_MAX ? SLICE_NULL : slice_from(names, len);
	}
	buf_append_byte(out, ';');
	*line += 1;
}

bool
dkim_sign(const struct dkim_signer *signer, const struct dkim_fields *fields,
    const unsigned char body_hash[DKIM_HASH_BYTES], int64_t now_s, int64_t expires_s,
    struct buf *out)
{
	static const char *const algorithms[DKIM_ALGORITHMS] = {
	    "rsa-sha256", "ed25519-sha256"};
	struct buf field AUTO_BUF, text AUTO_BUF, data AUTO_BUF;
	buf_init(&field, DKIM_FIELD_MAX);
	buf_init(&text, DKIM_FIELD_MAX);
	buf_init(&data, DKIM_SIGNED_MAX + DKIM_FIELD_MAX);
	buf_append_cstr(&field, "DKIM-Signature:");
	size_t line = field.len;
	tag_add(&field, &line, "v", SLICE("1"));
	tag_add(&field, &line, "a",
	    slice_from_cstr(algorithms[dkim_key_algorithm(signer->key)]));
	tag_add(&field, &line, "c", SLICE("relaxed/relaxed"));
	tag_add(&field, &line, "d", signer->domain);
	tag_add(&field, &line, "s", signer->selector);
	number_add(&field, &line, "t", now_s);
	if (expires_s > 0)
		number_add(&field, &line, "x", expires_s);
	names_add(&field, &line, buf_slice(&fields->names));
	base64_encode(slice_make((const char *)body_hash, DKIM_HASH_BYTES), &text);
	tag_add(&field, &line, "bh", buf_slice(&text));
	piece_add(&field, &line, SLICE(" b="));

	/* Section 3.7: the field itself comes last, without its signature and CRLF. */
	buf_append(&data, buf_slice(&fields->canonical));
	dkim_field_canon(DKIM_RELAXED, buf_slice(&field), &data);
	if (!buf_ok(&data) || !buf_ok(&field))
		return false;
	buf_truncate(&data, data.len - 2);
	buf_reset(&text);
	if (!dkim_key_sign(signer->key, buf_slice(&data), &text))
		return false;
	buf_reset(&data);
	base64_encode(buf_slice(&text), &data);
	for (size_t at = 0; at < data.len;) {
		size_t room = line < DKIM_LINE_MAX ? DKIM_LINE_MAX - line : 0;
		if (room == 0) {
			buf_append(&field, SLICE("\r\n "));
			line = 1;
			continue;
		}
		struct slice part = slice_sub(buf_slice(&data), at, room);
		buf_append(&field, part);
		line += part.len;
		at += part.len;
	}
	buf_append(&field, SLICE("\r\n"));
	if (!buf_ok(&field) || !buf_ok(&data))
		return false;
	buf_append(out, buf_slice(&field));
	return buf_ok(out);
}
