#!/usr/bin/env bash
# Measures Postroom and its peers (bench/peers.sh; for IMAP and POP3 bench/cyrus.sh too) in
# alternation, RUNS times each, and prints a table of medians with ratios. `./dev bench`
# builds and calls it.
#
#   bench/run.sh [--write] [--quick]
#
# --write puts the table into docs/performance.md; --quick: one run of each, fewer idle
# connections. $POSTROOM_BIN and $POSTROOM_BUILD say where the build is. Only files below
# one temporary folder are made; without Postfix, Dovecot or root, Postroom runs alone.
set -euo pipefail
top=$(dirname "$(dirname "$(readlink -f "$0")")")
build=${POSTROOM_BUILD:-$top/build/release}
bin=${POSTROOM_BIN:-$build/bin}
RUNS=3 IDLE_OURS=5000 IDLE_PEER=200 USERS=100 DOMAIN=bench.test PASSWORD=pass-bench-77
write= quick=
for arg in "$@"; do
	case $arg in
	--write) write=1 ;;
	--quick) quick=1 RUNS=1 IDLE_OURS=1000 ;;
	*) sed -n 's/^# \{0,1\}//;2,10p' "$0" >&2; exit 64 ;;
	esac
done
tmp=$(mktemp -d /tmp/postroom-bench.XXXXXX)
chmod 755 "$tmp"
port=$((10000 + RANDOM % 10000))
declare -A base=([ours]=$port [peer]=$((port + 1100)) [cyrus]=$((port + 2200)))
sides=(ours)
ulimit -n "$(ulimit -Hn)"

stop_all() {
	"$bin/postroom" --root "$tmp/ours" --quiet stop >/dev/null 2>&1 || true
	"$top/bench/peers.sh" stop "$tmp/peer" || true
	"$top/bench/cyrus.sh" stop "$tmp/cyrus" || true
	[ -n "${POSTROOM_KEEP:-}" ] || rm -rf "$tmp"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

post() { "$bin/postroom" --root "$tmp/ours" --quiet "$@"; }
post init --hostname "mail.$DOMAIN" --domain "$DOMAIN" --port-base "$port"
for ((i = 0; i < USERS; i++)); do
	echo "$PASSWORD" | post account add "user$i@$DOMAIN" --password-stdin
done
sed -i -e 's/^\(listener.*\) }/\1 max_per_ip = 0 }/' \
	-e 's/#allow_plaintext *= false/allow_plaintext = true/' \
	-e 's/#max_sessions_per_user *= 64/max_sessions_per_user = 1000/' "$tmp/ours/etc/postroom.conf"
post start --detach
peer=0
"$top/bench/peers.sh" start "$tmp/peer" "${base[peer]}" "$USERS" "$DOMAIN" "$PASSWORD" ||
	peer=$?
case $peer in
0) sides+=(peer) ;;
77) echo "run: no Postfix, Dovecot or root: Postroom alone" >&2 ;;
*) exit 1 ;;
esac
mailboxes=("${sides[@]}") # the sides that mail is fetched from
if "$top/bench/cyrus.sh" start "$tmp/cyrus" "${base[cyrus]}" "$USERS" "$DOMAIN" "$PASSWORD"; then
	mailboxes+=(cyrus)
fi
sleep 1

roots() { # process ids of a side's masters
	if [ "$1" = ours ]; then
		pgrep -f -- "--root $tmp/ours" || true
	elif [ "$1" = cyrus ]; then
		"$top/bench/cyrus.sh" pid "$tmp/cyrus"
	else
		cat "$tmp/peer/dovecot/run/master.pid" "$tmp/peer/postfix/spool/pid/master.pid"
	fi
}
tree() { # those and all below them
	local todo all=
	todo=$(roots "$1" | tr -d ' ')
	while [ -n "$todo" ]; do
		all="$all $todo"
		todo=$(pgrep -P "$(echo $todo | tr ' ' ,)" || true)
	done
	printf '%s\n' $all | sort -u
}
# Ended children count in their parents' cutime and cstime.
cpu_s() {
	local pid
	for pid in $(tree "$1"); do
		cat "/proc/$pid/stat" 2>/dev/null || true
	done | sed 's/.*) //' |
		awk -v hz="$(getconf CLK_TCK)" '{ t += $12 + $13 + $14 + $15 } END { print t / hz }'
}
pss_kb() {
	local pid
	for pid in $(tree "$1"); do
		cat "/proc/$pid/smaps_rollup" 2>/dev/null || true
	done | awk '$1 == "Pss:" { k += $2 } END { print k + 0 }'
}
field() { sed -n "s/.*\"$1\":\([-0-9.]*\).*/\1/p" "$2"; }
keep() { echo "$2" >>"$tmp/value.$1"; } # NAME.side VALUE
calc() { awk "BEGIN { print $1 }"; }

mail() { # side name conns count rcpts
	local side=$1 name=$2 count=$4 rcpts=$5 before waiter
	: >"$tmp/ready"
	"$build/bench/imap_load" wait --port $((base[$side] + 143)) --users "$USERS" \
		--count $((count * rcpts)) >"$tmp/wait" 2>"$tmp/ready" &
	waiter=$!
	until [ -s "$tmp/ready" ]; do sleep 0.05; done
	before=$(cpu_s "$side")
	"$build/bench/smtp_load" --port $((base[$side] + 25)) --conns "$3" --count "$count" \
		--rcpts "$rcpts" --users "$USERS" >"$tmp/send" || {
		echo "run: $side: $name: messages failed" >&2
		cat "$tmp/send" >&2
		return 1
	}
	wait "$waiter" || { echo "run: $side: $name: not all became visible" >&2; return 1; }
	keep "$name.rate.$side" "$(calc "$count / ($(field t_last "$tmp/wait") - $(field t_start "$tmp/send"))")"
	keep "$name.p50.$side" "$(field p50_ms "$tmp/send")"
	keep "$name.p99.$side" "$(field p99_ms "$tmp/send")"
	keep "$name.cpu.$side" "$(calc "($(cpu_s "$side") - $before) * 1000 / $count")"
}
client() { # side mode name field port-offset arguments
	local side=$1 mode=$2 name=$3 what=$4 offset=$5
	shift 5
	"$build/bench/imap_load" "$mode" --port $((base[$side] + offset)) "$@" >"$tmp/client"
	keep "$name.$side" "$(field "$what" "$tmp/client")"
}
idle() { # side connections
	local side=$1 count=$2 before
	before=$(pss_kb "$side")
	rm -f "$tmp/idle" # of the other side: it would look as if this one held already
	mkfifo "$tmp/hold"
	"$build/bench/imap_load" idle --port $((base[$side] + 993)) --conns "$count" \
		<"$tmp/hold" >"$tmp/idle" &
	local holder=$!
	exec 8>"$tmp/hold"
	until [ -s "$tmp/idle" ] || ! kill -0 "$holder" 2>/dev/null; do sleep 0.2; done
	[ -s "$tmp/idle" ] &&
		keep "idle.$side" "$(calc "($(pss_kb "$side") - $before) / $count")"
	exec 8>&-
	rm "$tmp/hold"
	wait "$holder"
}
each() { # command name...: in alternation, RUNS times
	local run side on=("${sides[@]}")
	[ "$1" = mail ] || on=("${mailboxes[@]}")
	for ((run = 0; run < RUNS; run++)); do
		for side in "${on[@]}"; do
			"$1" "$side" "${@:2}"
		done
	done
}

# First: later, processes that served mail end meanwhile and make PSS shrink.
idle ours "$IDLE_OURS"
for side in "${mailboxes[@]:1}"; do idle "$side" "$IDLE_PEER"; done

each mail c100 100 1000 1
each mail c20 20 400 1
each mail c1 1 100 1
each mail r50 20 20 50
each client login login rate 143 --conns 8 --count 1000000 --seconds 3
each client append append rate 143 --count 100
each client notify notify p50_ms 143 --count 5
fill_count=$((1000 / 50))
for side in "${mailboxes[@]}"; do # user0's INBOX: 1,000 messages and more
	"$build/bench/imap_load" append --port $((base[$side] + 143)) \
		--count $((fill_count * 50)) >/dev/null
done
each client fetch flags flags_rate 143
each client fetch metadata metadata_rate 143
each client fetch bodies bodies_rate 143
each client pop3 pop3 rate 110 --count 1000

median() {
	[ -f "$tmp/value.$1" ] || { echo -; return; }
	sort -g "$tmp/value.$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
row() { # text name more|less: which one is better
	awk -v text="$1" -v a="$(median "$2.ours")" -v b="$(median "$2.peer")" \
		-v c="$(median "$2.cyrus")" -v better="$3" \
		'function f(x) { return x == "-" ? x : sprintf(x < 10 ? "%.2f" : "%.0f", x) }
		function r(x) {
			if (a <= 0 || x <= 0) return "-"
			return sprintf("%.1f", better == "more" ? a / x : x / a)
		}
		BEGIN { printf "| %s | %s | %s | %s | %s | %s |\n", text, f(a), f(b), f(c), r(b), r(c) }'
}
table() {
	echo "| | Postroom | Postfix + Dovecot | Cyrus | times Postfix + Dovecot | times Cyrus |"
	echo "|---|--:|--:|--:|--:|--:|"
	local name text
	while IFS='|' read -r name text; do
		row "$text, visible per second" "$name.rate" more
		row "$text, final dot to 250, p50 ms" "$name.p50" less
		row "$text, final dot to 250, p99 ms" "$name.p99" less
		row "$text, CPU s per 1,000" "$name.cpu" less
	done <<'ROWS'
c100|SMTP, 100 connections
c20|SMTP, 20 connections
c1|SMTP, 1 connection
r50|SMTP, 50 recipients, 20 connections
ROWS
	row "IMAP login + logout per second, 8 at once" login more
	row "IMAP APPEND of 10 KB per second, 1 connection" append more
	row "APPEND to EXISTS in IDLE, p50 ms" notify less
	row "UID FETCH 1:* (FLAGS), messages per second" flags more
	row "UID FETCH 1:* of metadata, messages per second" metadata more
	row "UID FETCH 1:* BODY.PEEK[], messages per second" bodies more
	row "POP3 RETR of 1,000, per second" pop3 more
	row "idle IMAP session over TLS, KB of PSS ($IDLE_OURS and $IDLE_PEER held)" idle less
}
table | tee "$tmp/table"
[ -n "$write" ] || exit 0
{
	echo "<!-- measured: begin -->"
	echo "\`./dev bench $*\`, $(date -u +%F), $(nproc) cores ($(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)), $(awk '/MemTotal/ { printf "%d", $2 / 1048576 }' /proc/meminfo) GiB, $(uname -sr), $(findmnt -no FSTYPE -T "$tmp"), load before $(cut -d' ' -f1 /proc/loadavg); median of $RUNS."
	echo
	cat "$tmp/table"
	echo "<!-- measured: end -->"
} >"$tmp/section"
sed -i -e "/<!-- measured: begin -->/,/<!-- measured: end -->/{/end -->/r $tmp/section
d}" "$top/docs/performance.md"
