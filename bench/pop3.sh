#!/usr/bin/env bash
# POP3 of Postroom and of a private Dovecot (bench/peers.sh) in alternation: a table of
# medians, by the wall clock and by the server's CPU time.  The second is what to compare
# on a machine that does other things too.
#
#   bench/pop3.sh [MESSAGES [RUNS]]        (10000 and 3)
#
# $POSTROOM_BIN and $POSTROOM_BUILD say where the build is; target bench_pop3_load.
set -euo pipefail
top=$(dirname "$(dirname "$(readlink -f "$0")")")
build=${POSTROOM_BUILD:-$top/build/release}
bin=${POSTROOM_BIN:-$build/bin}
messages=${1:-10000} runs=${2:-3} domain=bench.test password=pass-bench-77
tmp=$(mktemp -d /tmp/postroom-pop3.XXXXXX)
chmod 755 "$tmp"
port=$((10000 + RANDOM % 10000))
declare -A base=([ours]=$port [peer]=$((port + 1100)))

post() { "$bin/postroom" --root "$tmp/ours" --quiet "$@"; }
stop_all() {
	post stop >/dev/null 2>&1 || true
	"$top/bench/peers.sh" stop "$tmp/peer" || true
	rm -rf "$tmp"
}
trap stop_all EXIT
trap 'exit 130' INT TERM

post init --hostname "mail.$domain" --domain "$domain" --port-base "$port"
echo "$password" | post account add "user0@$domain" --password-stdin
sed -i -e 's/^\(listener.*\) }/\1 max_per_ip = 0 }/' \
	-e 's/#allow_plaintext *= false/allow_plaintext = true/' "$tmp/ours/etc/postroom.conf"
post start --detach
"$top/bench/peers.sh" start "$tmp/peer" "${base[peer]}" 1 "$domain" "$password"
sleep 1
for side in ours peer; do
	python3 "$top/bench/pop3_fill.py" $((base[$side] + 143)) "user0@$domain" "$password" "$messages"
done

cpu_ms() { # of the side's processes and of their children that have ended
	local todo all=
	if [ "$1" = ours ]; then todo=$(pgrep -f -- "postroom-pop3d .*$tmp/ours" || true); else
		todo=$(cat "$tmp/peer/dovecot/run/master.pid"); fi
	while [ -n "$todo" ]; do
		all="$all $todo"
		todo=$(pgrep -P "$(echo $todo | tr ' ' ,)" || true)
	done
	for pid in $all; do cat "/proc/$pid/stat" 2>/dev/null || true; done | sed 's/.*) //' |
		awk -v hz="$(getconf CLK_TCK)" '{ t += $12 + $13 + $14 + $15 } END { print t * 1000 / hz }'
}
measure() { # side mode field count
	local before after
	before=$(cpu_ms "$1")
	"$build/bench/pop3_load" "$2" --port $((base[$1] + 110)) --user "user0@$domain" \
		--password "$password" --count "$4" >"$tmp/line"
	sleep 0.3
	after=$(cpu_ms "$1")
	sed -n "s/.*\"$3\":\([0-9.]*\).*/\1/p" "$tmp/line" >>"$tmp/$2.$1"
	awk "BEGIN { print $after - $before }" >>"$tmp/$2.cpu.$1"
}
median() { sort -g "$tmp/$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
row() { # text file more|less
	awk -v t="$1" -v a="$(median "$2.ours")" -v b="$(median "$2.peer")" -v m="$3" 'BEGIN {
		r = "-"; if (a > 0 && b > 0) r = sprintf("%.1f", m == "more" ? a / b : b / a)
		printf "| %s | %g | %g | %s |\n", t, a, b, r }'
}
for ((run = 0; run < runs; run++)); do
	for what in "retr rate $messages" "pipe rate $messages" "login rate 50" "dele ms $((messages / 10))"; do
		for side in ours peer; do measure "$side" $what; done
	done
done
echo "| | Postroom | Dovecot | times better |"
echo "|---|--:|--:|--:|"
row "RETR one by one, messages per second" retr more
row "the same, server CPU ms per $messages" retr.cpu less
row "RETR pipelined, messages per second" pipe more
row "the same, server CPU ms per $messages" pipe.cpu less
row "log in, STAT, QUIT: sessions per second" login more
row "the same, server CPU ms per 50" login.cpu less
row "DELE of $((messages / 10)) and QUIT, ms" dele less
row "the same, server CPU ms" dele.cpu less
