/*
 * Tenants and campaigns of submitted mail; see smtp_tenant.h.
 */
#include "smtpd/smtp_tenant.h"

#include "service/tenant.h"
#include "smtpd/smtp_message.h"

void
smtp_tenant_campaign_take(struct smtp_envelope *e)
{
	char name[TENANT_NAME_MAX + 1];
	if (e->facts.campaigns > 1 || !tenant_name_fold(e->facts.campaign, name)) {
		smtp_message_fault(e, SMTP_FAULT_CAMPAIGN);
		return;
	}
	e->campaign = arena_copy(e->arena, slice_from_cstr(name));
	if (!e->campaign.ptr) {
		e->draft_status = STATUS_BUSY;
		smtp_message_fault(e, SMTP_FAULT_DRAFT);
	}
}

enum status
smtp_tenant_name(struct smtp_envelope *e, struct queue_new_message *out)
{
	struct tenant tenant;
	if (!e->submission)
		return STATUS_OK;
	out->campaign = e->campaign;
	enum status status = service_tenant_of(
	    service_reader(e->worker->worker), e->login, e->sender, &tenant);
	if (status == STATUS_NOT_FOUND)
		return STATUS_OK;
	if (status != STATUS_OK)
		return status;
	/* The name must outlive the turn. */
	out->tenant = arena_copy(e->arena, tenant.name);
	return out->tenant.ptr ? STATUS_OK : STATUS_BUSY;
}

const struct smtp_reply *
smtp_tenant_full(struct smtp_envelope *e)
{
	static const struct smtp_reply plain = {
	    452, "4.3.1", "your queue is full, try again later"};
	struct slice name = e->queue.message.tenant;
	struct tenant tenant;
	struct smtp_reply *reply = ARENA_ARRAY(e->arena, struct smtp_reply, 1);
	if (!reply ||
	    tenant_get(service_reader(e->worker->worker), name, &tenant) != STATUS_OK)
		return &plain;
	struct slice text = arena_format(e->arena,
	    "tenant %.*s has %llu messages in the queue, its limit (--max-queued): try "
	    "again later",
	    SLICE_ARG(name), (unsigned long long)tenant.max_queued);
	*reply = (struct smtp_reply){452, "4.3.1", text.ptr};
	return text.ptr ? reply : &plain;
}
