#!/bin/sh
# Finds PostgreSQL, or installs it: as root by package; as anyone else by unpacking
# the packages into .cache/postgres, where the tests look for it. Quick when there
# is one already. On a system without apt, install PostgreSQL 14 or newer, or name
# the folder of its programs in CAMBIO_POSTGRES_BIN.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
cache=$root/.cache/postgres

# works FOLDER: whether the programs there run, with the unpacked libraries if they
# are unpacked. A postgres that runs as root says its version all the same.
works() {
	[ -x "$1/initdb" ] && [ -x "$1/postgres" ] && [ -x "$1/pg_ctl" ] || return 1
	libraries=
	case $1 in "$cache"/*) libraries=$(echo "$cache"/usr/lib/*-linux-* | tr ' ' ':') ;; esac
	LD_LIBRARY_PATH=$libraries "$1/initdb" --version >/dev/null 2>&1 &&
		LD_LIBRARY_PATH=$libraries "$1/pg_ctl" --version >/dev/null 2>&1 &&
		LD_LIBRARY_PATH=$libraries "$1/postgres" --version 2>/dev/null
}

find_postgres() {
	if [ -n "${CAMBIO_POSTGRES_BIN:-}" ]; then
		works "$CAMBIO_POSTGRES_BIN"
		return
	fi
	on_path=$(command -v initdb || true)
	for folder in "${on_path:+$(dirname "$(readlink -f "$on_path")")}" $(ls -d /usr/lib/postgresql/*/bin "$cache"/usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
		[ -n "$folder" ] && works "$folder" && return
	done
	return 1
}

if find_postgres; then
	exit 0
fi
if [ -n "${CAMBIO_POSTGRES_BIN:-}" ]; then
	echo "CAMBIO_POSTGRES_BIN=$CAMBIO_POSTGRES_BIN holds no initdb, pg_ctl and postgres that run" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "no PostgreSQL, and no apt-get to get one: install PostgreSQL 14 or newer, or set CAMBIO_POSTGRES_BIN" >&2
	exit 1
fi

if [ "$(id -u)" = 0 ]; then
	export DEBIAN_FRONTEND=noninteractive
	install="apt-get install -y -q --no-install-recommends postgresql"
	# The lists of a fresh machine are empty or old.
	$install >/dev/null 2>&1 || { apt-get update -q >/dev/null && $install >/dev/null; }
	find_postgres && exit 0
	echo "PostgreSQL was installed and does not run: try $install" >&2
	exit 1
fi

# As a user: apt with folders of our own, so that its lists can be brought up to
# date without rights; nothing is installed, packages are only unpacked.
work=$cache/apt
mkdir -p "$work/lists/partial" "$work/archives/partial"
apt="-q -o Dir::State::Lists=$work/lists -o Dir::Cache=$work -o Dir::Cache::Archives=$work/archives -o Debug::NoLocking=1 -o APT::Sandbox::User="
quietly() { # what apt says matters only where it fails
	"$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
}
quietly apt-get $apt update
server=$(apt-cache $apt depends postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9][0-9]*\)$/\1/p' | head -n 1)
[ -n "$server" ] || { echo "apt offers no package postgresql" >&2; exit 1; }
unpack() {
	(cd "$work" && quietly apt-get $apt download "$@")
	for file in "$work"/*.deb; do
		dpkg -x "$file" "$cache"
		rm "$file"
	done
}
unpack "$server" "postgresql-client-${server#postgresql-}" libpq5
bin=$(ls -d "$cache"/usr/lib/postgresql/*/bin | sort -rV | head -n 1)
# What the loader misses beyond that depends on the machine: ask it, and find the
# package among those that the server depends on. Some of them need others.
for round in 1 2 3 4 5 6; do
	libraries=$(echo "$cache"/usr/lib/*-linux-* | tr ' ' ':')
	missing=$(for program in "$bin/postgres" "$bin/initdb" "$bin/pg_ctl"; do
		LD_LIBRARY_PATH=$libraries ldd "$program"
	done | sed -n 's/^[[:space:]]*\([^ ]*\) => not found$/\1/p' | sort -u)
	[ -n "$missing" ] || break
	wanted=
	for package in $(apt-cache $apt depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$server" | grep '^lib' | sort -u); do
		for library in $missing; do
			# libicui18n.so.72 is of libicu72, liblber-2.5.so.0 of libldap-2.5-0,
			# libgssapi_krb5.so.2 of libgssapi-krb5-2.
			stem=$(echo "${library%%.so*}" | tr _ - | sed 's/^libicu.*/libicu/; s/^liblber/libldap/')
			case $package in "$stem"*) wanted="$wanted $package" ;; esac
		done
	done
	[ -n "$wanted" ] || { echo "no package is known for: $missing" >&2; exit 1; }
	# shellcheck disable=SC2086 # a list
	unpack $(echo $wanted | tr ' ' '\n' | sort -u)
done
rm -rf "$work"
find_postgres && exit 0
echo "PostgreSQL was unpacked into $cache and does not run; still missing: ${missing:-nothing}" >&2
exit 1
