/*
 * Records of the directory (domains, log-ins, aliases, forwards, rules of the relay) to
 * bytes and back, as store_codec.c.
 */
#include "store/store_codec_int.h"

/* The policy stands in the record, its days at the record's end. */
static bool
pop3_rule_decode(char policy, struct slice *tail, struct pop3_rule *out)
{
	if ((unsigned char)policy > POP3_POLICY_DAYS)
		return false;
	*out = (struct pop3_rule){(enum pop3_policy)policy, 0};
	if (out->policy != POP3_POLICY_DAYS)
		return true;
	if (tail->len < POP3_DAYS_SIZE)
		return false;
	out->days = be16_get(tail->ptr);
	*tail = slice_from(*tail, POP3_DAYS_SIZE);
	return out->days > 0 && out->days <= POP3_DAYS_MAX;
}

size_t
domain_encode(const struct domain_record *domain, char out[DOMAIN_SIZE_MAX])
{
	out[0] = STORE_RECORD_VERSION;
	out[DOMAIN_POP3] = (char)domain->pop3.policy;
	be32_put(out + DOMAIN_ACCOUNTS, domain->accounts);
	be32_put(out + DOMAIN_ALIASES, domain->aliases);
	memcpy(out + DOMAIN_POSTMASTER, domain->postmaster.v, 16);
	size_t len = DOMAIN_SIZE;
	if (domain->pop3.policy == POP3_POLICY_DAYS) {
		be16_put(out + len, domain->pop3.days);
		len += POP3_DAYS_SIZE;
	}
	if (domain->apop)
		out[len++] = DOMAIN_FLAG_APOP;
	return len;
}

bool
domain_decode(struct slice record, struct domain_record *out)
{
	const char *p = record.ptr;
	struct slice tail = slice_from(record, DOMAIN_SIZE);
	if (!record_fits(record, DOMAIN_SIZE) ||
	    !pop3_rule_decode(p[DOMAIN_POP3], &tail, &out->pop3) || tail.len > 1 ||
	    (tail.len == 1 && tail.ptr[0] != DOMAIN_FLAG_APOP))
		return false;
	out->apop = tail.len == 1;
	out->accounts = be32_get(p + DOMAIN_ACCOUNTS);
	out->aliases = be32_get(p + DOMAIN_ALIASES);
	memcpy(out->postmaster.v, p + DOMAIN_POSTMASTER, 16);
	return true;
}

void
apop_encode(struct slice secret, struct buf *out)
{
	buf_append_byte(out, STORE_RECORD_VERSION);
	buf_append(out, secret);
}

bool
apop_decode(struct slice record, struct slice *out_secret)
{
	if (!record_fits(record, 2) || record.len > APOP_RECORD_MAX)
		return false;
	*out_secret = slice_from(record, 1);
	return true;
}

void
login_encode(const struct login_record *login, struct buf *out)
{
	char head[LOGIN_TEXTS];
	head[0] = STORE_RECORD_VERSION;
	head[LOGIN_FLAGS] = login->disabled ? LOGIN_FLAG_DISABLED : 0;
	head[LOGIN_POP3] = (char)login->pop3.policy;
	memcpy(head + LOGIN_ID, login->id.v, 16);
	be64_put(head + LOGIN_CREATED, (uint64_t)login->created_s);
	buf_append(out, slice_make(head, sizeof(head)));
	record_text_append(out, login->login);
	record_text_append(out, login->credential);
	if (login->pop3.policy == POP3_POLICY_DAYS)
		buf_append_be16(out, login->pop3.days);
}

bool
login_decode(struct slice record, struct login_record *out)
{
	const char *p = record.ptr;
	if (!record_fits(record, LOGIN_TEXTS))
		return false;
	out->disabled = (p[LOGIN_FLAGS] & LOGIN_FLAG_DISABLED) != 0;
	memcpy(out->id.v, p + LOGIN_ID, 16);
	out->created_s = (int64_t)be64_get(p + LOGIN_CREATED);
	struct slice rest = slice_from(record, LOGIN_TEXTS);
	return record_text_take(&rest, &out->login) &&
	       record_text_take(&rest, &out->credential) &&
	       pop3_rule_decode(p[LOGIN_POP3], &rest, &out->pop3) && rest.len == 0;
}

void
alias_encode(const struct slice *targets, size_t count, struct buf *out)
{
	buf_append_byte(out, STORE_RECORD_VERSION);
	buf_append_be16(out, (uint16_t)count);
	for (size_t i = 0; i < count; i++)
		record_text_append(out, targets[i]);
}

bool
alias_decode(
    struct slice record, struct slice out[DIRECTORY_ALIAS_TARGETS_MAX], size_t *out_count)
{
	if (!record_fits(record, ALIAS_LIST))
		return false;
	size_t count = be16_get(record.ptr + ALIAS_COUNT);
	struct slice rest = slice_from(record, ALIAS_LIST);
	if (count > DIRECTORY_ALIAS_TARGETS_MAX)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!record_text_take(&rest, &out[i]))
			return false;
	*out_count = count;
	return rest.len == 0;
}

void
forward_encode(const struct forward_record *forward, struct buf *out)
{
	buf_append_byte(out, STORE_RECORD_VERSION);
	buf_append_byte(out, (char)forward->flags);
	buf_append_be16(out, (uint16_t)forward->count);
	for (size_t i = 0; i < forward->count; i++)
		record_text_append(out, forward->to[i]);
}

bool
forward_decode(struct slice record, struct forward_record *out)
{
	if (!record_fits(record, FORWARD_LIST + 2))
		return false;
	struct slice rest = slice_from(record, FORWARD_LIST + 2);
	out->flags = (uint8_t)record.ptr[FORWARD_FLAGS];
	out->count = be16_get(record.ptr + FORWARD_LIST);
	if (out->count == 0 || out->count > DIRECTORY_FORWARD_MAX)
		return false;
	for (size_t i = 0; i < out->count; i++)
		if (!record_text_take(&rest, &out->to[i]))
			return false;
	return rest.len == 0;
}

void
relay_encode(const struct relay_record *relay, struct buf *out)
{
	char head[RELAY_TEXTS];
	head[0] = STORE_RECORD_VERSION;
	be32_put(head + RELAY_NUMBER, relay->number);
	be16_put(head + RELAY_PORT, relay->port);
	head[RELAY_TLS] = (char)relay->tls;
	head[RELAY_BITS] = (char)((relay->implicit_tls ? RELAY_BIT_IMPLICIT : 0) |
				  (relay->lmtp ? RELAY_BIT_LMTP : 0));
	buf_append(out, slice_make(head, sizeof(head)));
	record_text_append(out, relay->host);
	record_text_append(out, relay->user);
	record_text_append(out, relay->password);
	if (relay->source.len == 0 && relay->ehlo.len == 0)
		return;
	record_text_append(out, relay->source);
	record_text_append(out, relay->ehlo);
}

bool
relay_decode(struct slice record, struct relay_record *out)
{
	const char *p = record.ptr;
	if (!record_fits(record, RELAY_TEXTS) ||
	    (unsigned char)p[RELAY_TLS] > RELAY_TLS_REQUIRED ||
	    (p[RELAY_BITS] & ~(RELAY_BIT_IMPLICIT | RELAY_BIT_LMTP)))
		return false;
	out->number = be32_get(p + RELAY_NUMBER);
	out->port = be16_get(p + RELAY_PORT);
	out->tls = (enum relay_tls)p[RELAY_TLS];
	out->implicit_tls = p[RELAY_BITS] & RELAY_BIT_IMPLICIT;
	out->lmtp = p[RELAY_BITS] & RELAY_BIT_LMTP;
	struct slice rest = slice_from(record, RELAY_TEXTS);
	out->source = out->ehlo = SLICE_NULL;
	if (!record_text_take(&rest, &out->host) ||
	    !record_text_take(&rest, &out->user) ||
	    !record_text_take(&rest, &out->password))
		return false;
	if (rest.len == 0)
		return true;
	return record_text_take(&rest, &out->source) &&
	       record_text_take(&rest, &out->ehlo) &&
	       (out->source.len > 0 || out->ehlo.len > 0) && rest.len == 0;
}
