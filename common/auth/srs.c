/*
 * Sender rewriting; see srs.h.  The hash is over all that is behind it, in lower case,
 * with the form's name in front: an SRS0 hash is worth nothing in an SRS1.
 */
#include "auth/srs.h"

#include "text/address.h"

enum {
	SRS_PREFIX_LEN = 5, /* "SRS0=" */
	SRS_TEXT_MAX = 512, /* bytes that are hashed */
};

static const char *
label_of(char form)
{
	return form == '0' ? "postroom srs 0" : "postroom srs 1";
}

bool
srs_is(struct slice local)
{
	return local.len >= SRS_PREFIX_LEN &&
	       (slice_has_prefix_nocase(local, SLICE("SRS0")) ||
		   slice_has_prefix_nocase(local, SLICE("SRS1"))) &&
	       memchr("=+-", local.ptr[4], 3) != NULL;
}

/* ---- forward ---- */

/* What is behind the hash, and '0' or '1'. */
static char
body_write(struct slice local, struct slice domain, int64_t now_s, struct buf *body)
{
	struct slice rest = slice_from(local, SRS_PREFIX_LEN);
	if (srs_is(local) && local.ptr[3] == '1') {
		/* Only the first forwarder is kept: reports take the short way back. */
		(void)slice_split(&rest, '=');
		buf_append(body, rest);
		return '1';
	}
	if (srs_is(local)) {
		buf_append(body, domain);
		buf_append_byte(body, '=');
		buf_append(body, slice_from(local, 4));
		return '1';
	}
	char day[SIGNED_DAY_LEN];
	signed_day_make(now_s, day);
	buf_append(body, slice_make(day, sizeof(day)));
	buf_append_byte(body, '=');
	buf_append(body, domain);
	buf_append_byte(body, '=');
	buf_append(body, local);
	return '0';
}

bool
srs_forward(const unsigned char key[SRS_KEY_SIZE], struct slice sender,
    struct slice domain, int64_t now_s, struct buf *out)
{
	char hash[SRS_HASH_LEN];
	struct buf body AUTO_BUF;
	buf_init(&body, SRS_TEXT_MAX);
	size_t at = slice_rindex(sender, '@');
	if (at == SIZE_MAX || at == 0 || sender.ptr[0] == '"' || now_s < 0)
		return false;
	char form = body_write(
	    slice_sub(sender, 0, at), slice_from(sender, at + 1), now_s, &body);
	if (!buf_ok(&body) ||
	    !signed_mac_make(key, label_of(form), buf_slice(&body), hash) ||
	    SRS_PREFIX_LEN + SRS_HASH_LEN + 1 + body.len + 1 + domain.len >
		ADDRESS_PATH_MAX)
		return false;
	buf_append_format(out, "SRS%c=%.*s=", form, SRS_HASH_LEN, hash);
	buf_append(out, buf_slice(&body));
	buf_append_byte(out, '@');
	buf_append(out, domain);
	return true;
}

/* ---- reverse ---- */

static enum srs_result
reverse_first(
    struct slice body, int64_t now_s, struct slice *out_domain, struct slice *out_local)
{
	unsigned age;
	struct slice text = slice_split(&body, '=');
	*out_domain = slice_split(&body, '=');
	*out_local = body;
	if (!signed_day_age(text, now_s, &age) || body.len == 0 ||
	    !address_domain_is_valid(*out_domain, false, true))
		return SRS_BAD;
	return signed_day_is_within(age, SRS_DAYS_MAX) ? SRS_OK : SRS_EXPIRED;
}

enum srs_result
srs_reverse(const unsigned char key[SRS_KEY_SIZE], struct slice local, int64_t now_s,
    struct buf *out)
{
	char form = local.ptr[3];
	struct slice body = slice_from(local, SRS_PREFIX_LEN);
	struct slice hash = slice_split(&body, '=');
	struct slice domain;
	if (now_s < 0 || body.len == 0)
		return SRS_BAD;
	if (!signed_mac_fits(key, label_of(form), body, hash))
		return SRS_FORGED;
	if (form == '0') {
		struct slice name;
		enum srs_result result = reverse_first(body, now_s, &domain, &name);
		if (result != SRS_OK)
			return result;
		buf_append(out, name);
	} else {
		domain = slice_split(&body, '=');
		if (body.len < 2 || !memchr("=+-", body.ptr[0], 3) ||
		    !address_domain_is_valid(domain, false, true))
			return SRS_BAD;
		buf_append(out, SLICE("SRS0"));
		buf_append(out, body);
	}
	buf_append_byte(out, '@');
	buf_append(out, domain);
	return SRS_OK;
}
