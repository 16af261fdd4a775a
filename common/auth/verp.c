/*
 * Addresses that tell a recipient; the form is in verp.h.
 *
 * What is signed is all behind the hash as it stands in the address, with the domain: so
 * decoding never has to make the same text twice.
 */
#include "auth/verp.h"

#include <string.h>

#include "text/encoding.h"

enum { HEAD_LEN = SIGNED_MAC_LEN + SIGNED_DAY_LEN };

static const struct {
	struct slice prefix;
	const char *label;
	unsigned days_max;
} kinds[] = {
    [VERP_BOUNCE] = {SLICE("bounce+"), "postroom verp b ", VERP_DAYS_MAX            },
    [VERP_UNSUBSCRIBE] = {SLICE("unsub+"),  "postroom verp u ", VERP_UNSUBSCRIBE_DAYS_MAX},
};

/* ---- writing ---- */

static bool
is_plain(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

static bool
is_control(char c)
{
	return (unsigned char)c < ' ' || c == 127;
}

/* False: it holds what no address does. */
static bool
part_write(struct slice text, struct buf *out)
{
	size_t at = slice_rindex(text, '@');
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (is_control(c))
			return false;
		/* A dot may stand between others only. */
		bool dot = c == '.' && i > 0 && i + 1 < text.len &&
		           is_plain(text.ptr[i - 1]) && is_plain(text.ptr[i + 1]);
		if (i == at)
			buf_append_cstr(out, "==");
		else if (is_plain(c) || dot)
			buf_append_byte(out, c);
		else
			buf_append_format(out, "=%02x", (unsigned char)c);
	}
	return true;
}

/* What stands behind the prefix, with the domain. */
static bool
rest_write(const unsigned char key[SIGNED_KEY_SIZE], enum verp_kind kind, int64_t now_s,
    struct slice sender, struct slice recipient, struct buf *out)
{
	char day[SIGNED_DAY_LEN], mac[SIGNED_MAC_LEN];
	size_t sender_at = slice_rindex(sender, '@'), at = slice_rindex(recipient, '@');
	if (sender_at == SIZE_MAX || sender_at == 0 || sender_at + 1 == sender.len ||
	    sender.ptr[0] == '"' || sender.len > VERP_PART_MAX || at == SIZE_MAX ||
	    at == 0 || at + 1 == recipient.len || recipient.len > VERP_PART_MAX ||
	    slice_index(sender, '@') != sender_at || now_s < 0)
		return false;
	struct buf text AUTO_BUF;
	buf_init(&text, SIGNED_TEXT_MAX);
	signed_day_make(now_s, day);
	buf_append(&text, slice_make(day, sizeof(day)));
	buf_append_byte(&text, '+');
	bool good = part_write(slice_sub(sender, 0, sender_at), &text);
	buf_append_byte(&text, '+');
	good = good && part_write(recipient, &text);
	buf_append(&text, slice_from(sender, sender_at));
	if (!good || !buf_ok(&text) ||
	    !signed_mac_make(key, kinds[kind].label, buf_slice(&text), mac))
		return false;
	buf_append(out, slice_make(mac, sizeof(mac)));
	buf_append(out, buf_slice(&text));
	return buf_ok(out);
}

bool
verp_encode(const unsigned char key[SIGNED_KEY_SIZE], enum verp_kind kind, int64_t now_s,
    struct slice sender, struct slice recipient, struct buf *out)
{
	struct buf rest AUTO_BUF;
	buf_init(&rest, SIGNED_TEXT_MAX);
	if (!rest_write(key, kind, now_s, sender, recipient, &rest) ||
	    kinds[kind].prefix.len + slice_rindex(buf_slice(&rest), '@') > VERP_LOCAL_MAX)
		return false;
	buf_append(out, kinds[kind].prefix);
	buf_append(out, buf_slice(&rest));
	return buf_ok(out);
}

static void
base64url_write(struct slice text, struct buf *out)
{
	struct buf plain AUTO_BUF;
	buf_init(&plain, VERP_TOKEN_MAX);
	base64_encode(text, &plain);
	for (size_t i = 0; i < plain.len && plain.ptr[i] != '='; i++) {
		char c = plain.ptr[i];
		buf_append_byte(out, c == '+' ? '-' : c == '/' ? '_' : c);
	}
}

bool
verp_token_encode(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s,
    struct slice sender, struct slice recipient, struct buf *out)
{
	struct buf rest AUTO_BUF;
	buf_init(&rest, SIGNED_TEXT_MAX);
	if (!rest_write(key, VERP_UNSUBSCRIBE, now_s, sender, recipient, &rest))
		return false;
	base64url_write(buf_slice(&rest), out);
	return buf_ok(out);
}

/* ---- reading ---- */

static int
hex_value(char c)
{
	c = ascii_lower(c);
	if (ascii_is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What `text` stands for, in lower case, with `ats` times "@"; false: for nothing. */
static bool
part_read(struct slice text, unsigned ats, char out[VERP_PART_MAX + 1])
{
	size_t len = 0;
	unsigned seen = 0;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '=' && i + 1 < text.len && text.ptr[i + 1] == '=') {
			c = '@';
			seen++;
			i++;
		} else if (c == '=') {
			int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_value(text.ptr[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (!is_plain(c) && c != '.') {
			return false;
		}
		if (is_control(c) || len == VERP_PART_MAX)
			return false;
		out[len++] = ascii_lower(c);
	}
	out[len] = '\0';
	return len > 0 && seen == ats;
}

/* `rest` is what stands behind the prefix. */
static enum verp_result
rest_read(const unsigned char key[SIGNED_KEY_SIZE], enum verp_kind kind, int64_t now_s,
    struct slice rest, struct verp *out)
{
	struct verp made = {.kind = kind};
	unsigned age;
	size_t at = slice_rindex(rest, '@');
	if (at == SIZE_MAX || at <= HEAD_LEN || rest.ptr[HEAD_LEN] != '+' || now_s < 0 ||
	    rest.len > SIGNED_TEXT_MAX ||
	    !signed_text_is_plausible(slice_sub(rest, 0, HEAD_LEN)))
		return VERP_NONE;
	if (!signed_mac_fits(key, kinds[kind].label, slice_from(rest, SIGNED_MAC_LEN),
		slice_sub(rest, 0, SIGNED_MAC_LEN)))
		return VERP_FORGED;
	struct slice domain = slice_from(rest, at);
	struct slice recipient = slice_sub(rest, HEAD_LEN + 1, at - HEAD_LEN - 1);
	struct slice sender = slice_split(&recipient, '+');
	if (!signed_day_age(
		slice_sub(rest, SIGNED_MAC_LEN, SIGNED_DAY_LEN), now_s, &age) ||
	    !part_read(sender, 0, made.sender) ||
	    !part_read(recipient, 1, made.recipient) ||
	    strlen(made.sender) + domain.len > VERP_PART_MAX)
		return VERP_FORGED;
	if (!signed_day_is_within(age, kinds[kind].days_max))
		return VERP_LATE;
	size_t len = strlen(made.sender);
	for (size_t i = 0; i < domain.len; i++)
		made.sender[len++] = ascii_lower(domain.ptr[i]);
	made.sender[len] = '\0';
	*out = made;
	return VERP_OK;
}

enum verp_result
verp_decode(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s, struct slice address,
    struct verp *out)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (slice_has_prefix_nocase(address, kinds[i].prefix))
			return rest_read(key, (enum verp_kind)i, now_s,
			    slice_from(address, kinds[i].prefix.len), out);
	return VERP_NONE;
}

enum verp_result
verp_token_decode(const unsigned char key[SIGNED_KEY_SIZE], int64_t now_s,
    struct slice token, struct verp *out)
{
	struct buf plain AUTO_BUF;
	struct buf rest AUTO_BUF;
	struct buf again AUTO_BUF;
	buf_init(&plain, VERP_TOKEN_MAX + 4);
	buf_init(&rest, VERP_TOKEN_MAX);
	buf_init(&again, VERP_TOKEN_MAX);
	if (token.len > VERP_TOKEN_MAX)
		return VERP_NONE;
	for (size_t i = 0; i < token.len; i++) {
		char c = token.ptr[i];
		buf_append_byte(&plain, c == '-' ? '+' : c == '_' ? '/' : c);
	}
	while (plain.len % 4 != 0)
		buf_append_byte(&plain, '=');
	/* There is one way to write it. */
	if (!base64_decode_strict(buf_slice(&plain), &rest) || !buf_ok(&rest))
		return VERP_NONE;
	base64url_write(buf_slice(&rest), &again);
	if (!slice_equal(buf_slice(&again), token))
		return VERP_NONE;
	return rest_read(key, VERP_UNSUBSCRIBE, now_s, buf_slice(&rest), out);
}
