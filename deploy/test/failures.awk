# Reads the log of `go test -v` and prints, for each failed test, its own messages:
# the lines file.go:line: … that it wrote, each with what continues it. Then what
# failed outside of any test: a build, a panic, a data race.
function remember(line) {
	if (count[test] < most) { text[test, count[test]++] = line } else {
		text[test, head + rolled[test] % (most - head)] = line # keep the first and the last
		rolled[test]++
	}
}
function forget() { split("", count); split("", text); split("", rolled); test = ""; saying = 0 }
function show(name,   i, n, at) {
	print "--- " name
	n = count[name]
	for (i = 0; i < n; i++) {
		at = i
		if (rolled[name] && i >= head) {
			if (i == head) print "    … (" rolled[name] " lines left out)"
			at = head + (rolled[name] + i - head) % (most - head)
		}
		print text[name, at]
	}
}
BEGIN { most = 60; head = 12; forget() }
/^=== (RUN|CONT|NAME|PAUSE) / { test = $3; saying = 0; next }
/^[ \t]*--- FAIL: / { show($3); saying = 0; next }
/^[ \t]*--- (PASS|SKIP): / { saying = 0; next }
/^(ok|FAIL|PASS|\?)([ \t]|$)/ { if (NF > 1) forget(); outside = 0; next }
/^(panic:|fatal error:|WARNING: DATA RACE|# )/ { outside = most }
outside > 0 && !/^[ \t]+[^ \t]+_test\.go:[0-9]+: / { print; outside--; next }
/^[ \t]+[^ \t]+\.go:[0-9]+: / {
	match($0, /^[ \t]+/)
	indent = RLENGTH
	saying = 1
	remember($0)
	next
}
saying {
	match($0, /^[ \t]*/)
	if ($0 == "" || RLENGTH > indent) remember($0); else saying = 0
}
