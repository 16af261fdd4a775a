/*
 * The rules about refusals that are shipped; `postroom relay rules` prints them, to be
 * changed in a file that relay.reply_rules names.
 */
#include "text/reply_rule.h"

/* clang-format off */
static const char table[] =
"# What a remote server's refusal means; the first rule that fits counts.\n"
"# HOST CODE ENHANCED \"TEXT\" ACTION: pause DURATION, slow, retry DURATION, fail\n"
"\n"
"# Google\n"
"*.google.com                4xx 4.7.28 \"\"                          slow\n"
"*.google.com                4xx 4.7.0  \"unsolicited\"               pause 1h\n"
"*.google.com                4xx 4.7.0  \"try again later\"           pause 10m\n"
"*.google.com                450 4.2.1  \"receiving mail\"            retry 1h\n"
"*.google.com                452 4.2.2  \"over quota\"                retry 4h\n"
"\n"
"# Microsoft\n"
"*.protection.outlook.com    451 4.7.500 \"server busy\"              slow\n"
"*.protection.outlook.com    451 4.7.*   \"\"                         pause 15m\n"
"*.protection.outlook.com    421 *       \"rate limited\"             pause 15m\n"
"*.protection.outlook.com    5xx 5.7.*   \"banned sending IP\"        pause 4h\n"
"*.protection.outlook.com    5xx 5.7.*   \"on our block list\"        pause 4h\n"
"*.olc.protection.outlook.com 4xx *      \"(S3150)\"                  pause 4h\n"
"\n"
"# Yahoo, AOL\n"
"*.yahoodns.net              421 4.7.0  \"[TSS\"                      pause 4h\n"
"*.yahoodns.net              421 4.7.*  \"[TS\"                       pause 1h\n"
"*.yahoodns.net              4xx *      \"deferred due to user complaints\" pause 4h\n"
"*.yahoodns.net              4xx *      \"too many\"                  slow\n"
"\n"
"# Apple\n"
"*.mail.icloud.com           4xx *      \"rate\"                      slow\n"
"*.mail.icloud.com           550 5.7.1  \"local policy\"              pause 1h\n"
"\n"
"# GMX, WEB.DE, T-Online\n"
"*.gmx.net                   421 *      \"too many connections\"      slow\n"
"*.web.de                    421 *      \"too many connections\"      slow\n"
"*.gmx.net                   554 *      \"bad dns\"                   pause 4h\n"
"*.t-online.de               554 *      \"tosa@\"                     pause 4h\n"
"\n"
"# Everybody\n"
"*                           4xx *      \"greylist\"                  retry 5m\n"
"*                           4xx *      \"graylist\"                  retry 5m\n"
"*                           421 *      \"too many connections\"      slow\n"
"*                           421 *      \"too many concurrent\"       slow\n"
"*                           4xx *      \"too many messages\"         slow\n"
"*                           4xx *      \"rate limit\"                slow\n"
"*                           4xx *      \"sending too fast\"          slow\n"
"*                           4xx *      \"throttl\"                   slow\n"
"*                           4xx 4.7.*  \"blocked\"                   pause 30m\n"
"*                           4xx 4.7.*  \"blacklist\"                 pause 30m\n"
"*                           4xx 4.7.*  \"blocklist\"                 pause 30m\n"
"*                           4xx 4.1.1  \"user unknown\"              retry 1h\n";
/* clang-format on */

struct slice
reply_rules_default(void)
{
	return slice_make(table, sizeof(table) - 1);
}
