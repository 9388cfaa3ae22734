#!/bin/sh
# Copies the modules that package.json names from the npm registry to the directory given, each with its licence.
# `make web-vendor` calls it for web/vendor; a test calls it for another directory, and compares.
set -eu
target=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp "$here/package.json" "$here/package-lock.json" "$work"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent)
modules=$work/node_modules

mkdir -p "$target"
# A browser finds modules by paths, not by the names of packages. Maps of the sources are not served.
module() {
	sed -e 's#from"preact"#from"./preact.js"#g' -e '/^\/\/# sourceMappingURL=/d' "$modules/$1" >"$target/$2"
}
module preact/dist/preact.mjs preact.js
module preact/hooks/dist/hooks.mjs hooks.js
module htm/dist/htm.module.js htm.js
# The module of uPlot is three times as large as its script, which leaves out comments and spaces.
module uplot/dist/uPlot.iife.min.js uplot.js
printf '\nexport default uPlot;\n' >>"$target/uplot.js"
cp "$modules/uplot/dist/uPlot.min.css" "$target/uplot.css"
for package in preact htm uplot; do
	cp "$modules/$package/LICENSE" "$target/LICENSE.$package"
done
