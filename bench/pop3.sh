#!/usr/bin/env bash
# POP3 of Postroom, a private Dovecot (bench/peers.sh) and a private Cyrus (bench/cyrus.sh,
# left out where it cannot be had) in alternation: a table of medians, by the wall clock and
# by the server's CPU time.  The second is what to compare
# on a machine that does other things too.
#
#   bench/pop3.sh [MESSAGES [RUNS [--write]]]        (10000 and 3)
#
# --write puts the table into docs/performance.md.
#
# $POSTROOM_BIN and $POSTROOM_BUILD say where the build is; target bench_pop3_load.
set -euo pipefail
top=$(dirname "$(dirname "$(readlink -f "$0")")")
build=${POSTROOM_BUILD:-$top/build/release}
bin=${POSTROOM_BIN:-$build/bin}
messages=${1:-10000} runs=${2:-3} write=${3:-} domain=bench.test password=pass-bench-77
tmp=$(mktemp -d /tmp/postroom-pop3.XXXXXX)
chmod 755 "$tmp"
port=$((10000 + RANDOM % 10000))
declare -A base=([ours]=$port [peer]=$((port + 1100)) [cyrus]=$((port + 2200)))
sides=(ours peer)

post() { "$bin/postroom" --root "$tmp/ours" --quiet "$@"; }
stop_all() {
	post stop >/dev/null 2>&1 || true
	"$top/bench/peers.sh" stop "$tmp/peer" || true
	"$top/bench/cyrus.sh" stop "$tmp/cyrus" || true
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
if "$top/bench/cyrus.sh" start "$tmp/cyrus" "${base[cyrus]}" 1 "$domain" "$password"; then
	sides+=(cyrus)
fi
sleep 1
for side in "${sides[@]}"; do
	python3 "$top/bench/pop3_fill.py" $((base[$side] + 143)) "user0@$domain" "$password" "$messages"
done

cpu_ms() { # of the side's processes and of their children that have ended
	local todo all=
	if [ "$1" = ours ]; then todo=$(pgrep -f -- "postroom-pop3d .*$tmp/ours" || true)
	elif [ "$1" = cyrus ]; then todo=$("$top/bench/cyrus.sh" pid "$tmp/cyrus"); else
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
	awk -v t="$1" -v a="$(median "$2.ours")" -v b="$(median "$2.peer")" \
		-v c="$([ ! -f "$tmp/$2.cyrus" ] || median "$2.cyrus")" -v m="$3" '
		function ratio(x) { return a > 0 && x > 0 ? sprintf("%.1f", m == "more" ? a / x : x / a) : "-" }
		BEGIN { printf "| %s | %g | %g | %s | %s | %s |\n", t, a, b, c == "" ? "-" : c + 0, ratio(b), ratio(c) }'
}
for ((run = 0; run < runs; run++)); do
	for what in "retr rate $messages" "pipe rate $messages" "login rate 50" "dele ms $((messages / 10))"; do
		for side in "${sides[@]}"; do measure "$side" $what; done
	done
done
table() {
	echo "| | Postroom | Dovecot | Cyrus | times Dovecot | times Cyrus |"
	echo "|---|--:|--:|--:|--:|--:|"
	row "RETR one by one, messages per second" retr more
	row "the same, server CPU ms per $messages" retr.cpu less
	row "RETR pipelined, messages per second" pipe more
	row "the same, server CPU ms per $messages" pipe.cpu less
	row "log in, STAT, QUIT: sessions per second" login more
	row "the same, server CPU ms per 50" login.cpu less
	row "DELE of $((messages / 10)) and QUIT, ms" dele less
	row "the same, server CPU ms" dele.cpu less
}
table | tee "$tmp/table"
[ "$write" = --write ] || exit 0
{
	echo "<!-- pop3: begin -->"
	echo "\`bench/pop3.sh $messages $runs\`, $(date -u +%F), $(nproc) cores, load at the end $(cut -d' ' -f1 /proc/loadavg); medians of $runs in alternation."
	echo
	cat "$tmp/table"
	echo "<!-- pop3: end -->"
} >"$tmp/section"
sed -i -e "/<!-- pop3: begin -->/,/<!-- pop3: end -->/{/end -->/r $tmp/section
d}" "$top/docs/performance.md"
