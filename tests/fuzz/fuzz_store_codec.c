/*
 * The store's records and the heads of body files: no input makes a decoder read outside
 * of it, what borrows it stays inside, and what is accepted is written back as it was.
 * The first byte chooses the decoder.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/ensure.h"
#include "store/body_frame.h"
#include "store/body_pack.h"
#include "store/engine_lmdb_int.h"
#include "store/mailbox_int.h"
#include "store/queue_int.h"
#include "store/search_int.h"
#include "store/store_codec_int.h"

static struct slice record;

static void
inside(struct slice part)
{
	ENSURE(part.len == 0 || (part.ptr >= record.ptr &&
				    part.ptr + part.len <= record.ptr + record.len));
}

static void
same(const char *bytes, size_t len)
{
	ENSURE(slice_equal(slice_make(bytes, len), record));
}

static void
buf_same(struct buf *buf)
{
	ENSURE(slice_equal(buf_slice(buf), record));
	buf_fini(buf);
}

static void
fuzz_account(void)
{
	struct account_state account;
	char out[ACCOUNT_SIZE_MAX];
	if (!account_decode(record, &account))
		return;
	struct slice again = account_encode(&account, out);
	/* Bits of the flags that nobody knows are not kept. */
	ENSURE(again.len == record.len);
	ENSURE(slice_equal(
	    slice_from(again, ACCOUNT_CREATED), slice_from(record, ACCOUNT_CREATED)));
}

static void
fuzz_state(void)
{
	static struct mailbox_state state;
	char out[STATE_SIZE_MAX];
	if (!state_decode(record, &state))
		return;
	inside(state.name);
	same(out, state_encode(&state, out));
}

static void
fuzz_keywords(void)
{
	static struct keyword_list list;
	static char out[KEYWORDS_SIZE_MAX];
	struct slice names[MAILBOX_KEYWORDS_MAX];
	size_t count;
	if (keywords_peek(record, names, &count)) {
		for (size_t i = 0; i < count; i++)
			inside(names[i]);
	}
	if (keywords_decode(record, &list))
		same(out, keywords_encode(&list, out));
}

static void
fuzz_message(void)
{
	struct message_record message;
	char out[EXPUNGED_SIZE];
	int64_t time_s;
	if (message_decode(record, 7, &message)) {
		message_encode(&message, out);
		same(out, MESSAGE_SIZE);
	}
	if (expunged_decode(record, 7, &message, &time_s)) {
		expunged_encode(&message, time_s, out);
		same(out, EXPUNGED_SIZE);
	}
}

static void
fuzz_map(void)
{
	struct mailbox_map_chunk chunk;
	char out[MAILBOX_MAP_SIZE_MAX];
	if (mailbox_map_decode(record, &chunk))
		same(out, mailbox_map_encode(&chunk, out));
}

static void
fuzz_pop3(void)
{
	struct pop3_record pop3;
	char out[POP3_RECORD_MAX];
	uint32_t uid;
	if (pop3_record_decode(record, &pop3)) {
		inside(pop3.uidl);
		same(out, pop3_record_encode(&pop3, out));
	}
	if (uidl_decode(record, &uid))
		ENSURE(record.len == UIDL_SIZE);
	struct reserved reserved;
	if (reserved_decode(record, &reserved)) {
		reserved_encode(&reserved, out);
		same(out, RESERVED_SIZE);
	}
}

static void
fuzz_directory(void)
{
	struct domain_record domain;
	struct login_record login;
	struct relay_record relay;
	struct slice targets[DIRECTORY_ALIAS_TARGETS_MAX];
	char out[DOMAIN_SIZE_MAX];
	size_t count;
	if (domain_decode(record, &domain)) {
		same(out, domain_encode(&domain, out));
	}
	struct slice secret;
	if (apop_decode(record, &secret)) {
		struct buf buf;
		inside(secret);
		buf_init(&buf, record.len + 1);
		apop_encode(secret, &buf);
		buf_same(&buf);
	}
	if (login_decode(record, &login)) {
		inside(login.login);
		inside(login.credential);
	}
	if (alias_decode(record, targets, &count)) {
		struct buf buf;
		for (size_t i = 0; i < count; i++)
			inside(targets[i]);
		buf_init(&buf, record.len + 1);
		alias_encode(targets, count, &buf);
		buf_same(&buf);
	}
	struct forward_record forward;
	if (forward_decode(record, &forward)) {
		struct buf buf;
		for (size_t i = 0; i < forward.count; i++)
			inside(forward.to[i]);
		buf_init(&buf, record.len + 1);
		forward_encode(&forward, &buf);
		buf_same(&buf);
	}
	if (relay_decode(record, &relay)) {
		inside(relay.host);
		inside(relay.user);
		inside(relay.password);
		inside(relay.source);
		inside(relay.ehlo);
		struct buf buf;
		buf_init(&buf, record.len + 1);
		relay_encode(&relay, &buf);
		buf_same(&buf);
	}
}

static void
fuzz_queue(void)
{
	struct queue_counts counts;
	struct queue_message message;
	struct queue_recipient recipient;
	(void)counts_decode(record, &counts);
	struct buf buf;
	if (queue_message_decode(record, SLICE("0123456789abcdef"), &message)) {
		inside(message.sender);
		inside(message.envid);
		inside(message.tenant);
		inside(message.campaign);
		buf_init(&buf, record.len + 1);
		queue_message_encode(&message, &buf);
		buf_same(&buf);
	}
	if (queue_recipient_decode(record, SLICE("0123456789abcdef"), 1, &recipient)) {
		inside(recipient.address);
		inside(recipient.orcpt);
		buf_init(&buf, record.len + 1);
		queue_recipient_encode(&recipient, &buf);
		buf_same(&buf);
	}
}

static void
fuzz_keys(void)
{
	struct change_key change;
	struct time_key time;
	uint32_t number;
	struct slice tenant, campaign;
	struct queue_pause pause;
	if (record.len && key_queue_tenant_decode(record, &tenant, &campaign)) {
		inside(tenant);
		inside(campaign);
	}
	if (record.len && key_queue_paused_decode(record, &pause)) {
		inside(pause.tenant);
		inside(pause.campaign);
		inside(pause.sender);
		inside(pause.site);
	}
	(void)key_change_decode(record, &change);
	(void)key_time_decode(record, &time);
	(void)name_decode(record, &number);
}

static void
fuzz_note(void)
{
	struct relay_note note;
	if (!relay_note_decode(record, &note))
		return;
	struct buf out AUTO_BUF;
	buf_init(&out, RELAY_NOTE_RECORD_MAX + (size_t)2 * UINT16_MAX);
	relay_note_encode(&note, &out);
	ENSURE(buf_ok(&out));
	same(out.ptr, out.len);
}

static void
fuzz_tenant(void)
{
	struct tenant tenant;
	struct slice name;
	struct buf buf;
	if (tenant_decode(record, &tenant)) {
		inside(tenant.pool);
		inside(tenant.dkim_domain);
		buf_init(&buf, record.len + 1);
		tenant_encode(&tenant, &buf);
		buf_same(&buf);
	}
	if (tenant_member_decode(record, &name)) {
		inside(name);
		buf_init(&buf, record.len + 1);
		tenant_member_encode(name, &buf);
		buf_same(&buf);
	}
}

static void
fuzz_metadata(void)
{
	static char out[METADATA_VALUE + METADATA_VALUE_MAX];
	struct metadata_key at;
	struct key key;
	struct slice value;
	uint64_t change;
	if (metadata_decode(record, &change, &value)) {
		inside(value);
		same(out, metadata_encode(change, value, out));
	}
	if (!key_metadata_decode(record, &at))
		return;
	inside(at.entry);
	key_metadata(&key, at.mailbox, at.user);
	key_bytes(&key, at.entry);
	ENSURE(slice_equal(slice_from(key_slice(&key), 1), slice_from(record, 1)));
}

static void
fuzz_acl(void)
{
	static struct acl acl;
	static char out[ACL_RECORD_MAX];
	uint16_t rights;
	char text[ACL_RIGHTS_TEXT_MAX];
	if (acl_decode(record, &acl))
		same(out, acl_encode(&acl, out));
	if (acl_rights_read(record, &rights)) {
		uint16_t again;
		acl_rights_write(rights, text);
		ENSURE(acl_rights_read(slice_from_cstr(text), &again));
		ENSURE((again & rights) == rights);
	}
}

static void
fuzz_body(void)
{
	char out[BODY_SEGMENT_HEADER_SIZE];
	uint64_t size;
	uint32_t crc;
	struct body_record body;
	struct segment_record segment;
	if (record.len == BODY_SEGMENT_HEADER_SIZE &&
	    body_segment_header_ok(record.ptr)) {
		body_segment_header_put(out);
		same(out, BODY_SEGMENT_HEADER_SIZE);
	}
	if (record.len == BODY_FRAME_HEADER_SIZE &&
	    body_frame_header_get(record.ptr, &size, &crc)) {
		ENSURE(record.ptr[4] == BODY_FRAME_VERSION);
	}
	if (body_record_decode(record, &body) && body.flags & BODY_RECORD_PACKED)
		ENSURE(body.raw_size <= BODY_PACK_RAW_MAX && body.size < body.raw_size);
	(void)segment_record_decode(record, &segment);
}

/* With checksums that fit, so that what is behind them is reached. */
static void
fuzz_search(void)
{
	static struct search_record block;
	static char out[SEARCH_RECORD_MAX];
	struct search_page_iter it;
	struct search_state state;
	struct search_bits bits = {{0}};
	struct slice rest = record;
	(void)search_state_decode(record, &state);
	if (record.len > SEARCH_RECORD_NEXT) {
		char *bytes = (char *)(uintptr_t)record.ptr;
		be32_put(bytes + SEARCH_RECORD_CRC,
		    crc32c(0, slice_from(record, SEARCH_RECORD_NEXT)));
	}
	if (search_record_decode(record, &block))
		(void)search_record_decode(
		    slice_make(out, search_record_encode(&block, out)), &block);
	if (record.len <= SEARCH_PAGE_HEAD)
		return;
	search_page_iter_init(&it, record);
	while (search_page_iter_next(&it) == STATUS_OK) {
		inside(it.posting);
		(void)search_posting_get(&it.posting, 64, 100, &bits);
	}
	while (search_posting_get(&rest, 0, SEARCH_BLOCK_DOCS, &bits))
		continue;
	(void)search_page_find(record, 5, 1 << 24, 0, SEARCH_BLOCK_DOCS, &bits);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const CASES[])(void) = {
	    fuzz_account,
	    fuzz_state,
	    fuzz_keywords,
	    fuzz_message,
	    fuzz_directory,
	    fuzz_queue,
	    fuzz_keys,
	    fuzz_body,
	    fuzz_pop3,
	    fuzz_search,
	    fuzz_note,
	    fuzz_map,
	    fuzz_metadata,
	    fuzz_acl,
	    fuzz_tenant,
	};
	if (size == 0)
		return 0;
	/* A copy of its own: nothing may be read beside it. */
	char *copy = malloc(size > 1 ? size - 1 : 1);
	ENSURE(copy);
	memcpy(copy, data + 1, size - 1);
	record = slice_make(copy, size - 1);
	CASES[data[0] % (sizeof CASES / sizeof CASES[0])]();
	free(copy);
	return 0;
}
