/*
 * The outbound half of smtpd, as main.c sees it: what lies in the queue (store/queue.h)
 * is delivered, retried or reported back.  The two halves meet in the queue only; the
 * receiving half (smtp_*) adds, the relay (relay_*) takes out.
 *
 * Thread: the main one and its loop.
 */
#ifndef SMTPD_RELAY_H
#define SMTPD_RELAY_H

#include "service/service.h"
#include "service/trace.h"

/* Begins to work on the queue.  `trace` (may be null) is borrowed. */
void relay_start(struct service *service, struct loop *main_loop, struct trace *trace);
/* No new attempts; those that stand are given up and stay in the queue. */
void relay_stop(void);
/* The configuration was read again: service_conf is the new one. */
void relay_reloaded(void);

/* A message that was taken in for an address that reports go to: what it says of mail of
 * ours, if that can be proven, is counted and feeds the suppression list (decision 0100).
 * Any thread; copies.  `id` is the message's; `trusted`: the peer is in
 * relay.report_networks.  Longer ones than RELAY_REPORT_MAX are left alone. */
enum { RELAY_REPORT_MAX = 1024 * 1024 /* bytes */ };
void relay_report_take(
    const char *id, struct slice message, struct slice peer, bool trusted);

#endif
