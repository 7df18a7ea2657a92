# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables shared with the script that sources this
# Sourced by scripts/engines: turns package files into a bundle that runs with its own loader and
# libraries, and checks bundles. Uses from the caller: work, engines_dir, deb_cache, say, die and the
# exit codes. Sets smoke_pid and smoke_dir while an engine is tried out, and built.

# manifest_field FILE NAME: prints a top-level string of a manifest. The manifest is written by
# write_manifest, one member a line, and read the same way, so that no JSON tool is needed.
manifest_field() {
	sed -n 's/^  "'"$2"'": "\(.*\)",\{0,1\}$/\1/p' "$1"
}

# verify_bundle DIR: whether every file of the bundle is there, has the checksum of the manifest,
# and can be started where it is a program.
verify_bundle() {
	local sums p
	sums=$(sed -n '/^  "files": {$/,/^  }/s/^    "\(.*\)": "\([0-9a-f]\{64\}\)",\{0,1\}$/\2  \1/p' "$1/manifest.json" 2>/dev/null) || return 1
	[[ -n $sums ]] || return 1
	for p in "$1"/bin/* "$1"/libexec/* "$1"/lib/ld*; do
		[[ -x $p ]] || return 1
	done
	(cd "$1" && sha256sum --check --strict --status <<<"$sums") 2>/dev/null
}

# debs_from_manifest MANIFEST FILE: writes the list that resolve would, from the manifest alone; fails
# when a package is not in the cache with its hash.
debs_from_manifest() {
	local file hash any=1
	: >"$2"
	while read -r file hash; do
		hash_matches "$deb_cache/$file" "SHA256:$hash" || return 1
		deb_line "$deb_cache/$file" >>"$2"
		any=0
	done < <(sed -n 's/^    {.*"file": "\(.*\)", "sha256": "\([0-9a-f]\{64\}\)"}.*/\1 \2/p' "$1" 2>/dev/null)
	return "$any"
}

# build_bundle NAME FILE DISTRIBUTION SUITE: makes the bundle of the listed packages beside its
# place, tries it out, and moves it there in one step. Leaves the directory's name in built.
build_bundle() {
	local name=$1 engine=${1%%-*} debs=$2 distribution=$3 suite=$4 tree=$work/tree new=$work/new path package version server
	rm -rf -- "$tree" "$new"
	mkdir -p "$tree" "$new"/{bin,lib,libexec}
	while IFS=$'\t' read -r path package version; do
		dpkg-deb -x "$path" "$tree" || die "$EX_FAIL" "cannot unpack $path"
	done <"$debs"
	copy_programs "$engine" "$tree" "$new"
	copy_libraries "$tree" "$new"
	[[ $engine != redis ]] || copy_lua "$tree" "$new"
	write_wrappers "$new"
	server=$(server_of "$engine")
	version=$(version_of "$new/bin/$server")
	[[ $version == "${name#*-}" || $version == "${name#*-}".* ]] || die "$EX_FAIL" "$name: the program says it is version '$version'"
	write_manifest "$new" "$engine" "$version" "$debs"
	verify_bundle "$new" || die "$EX_VERIFY" "$name: the bundle does not verify right after it was built"
	smoke_test "$new" "$engine" "$version"
	place "$new" "$engines_dir/$engine-$version"
	built=$engine-$version
	say "$name: installed $engines_dir/$built"
}

server_of() {
	case $1 in
	memcached) echo memcached ;;
	*) echo "$1-server" ;;
	esac
}

# version_of SERVER: "Redis server v=7.0.15 ...", "Valkey server v=9.1.2 ..." or "memcached 1.6.18".
version_of() {
	"$1" --version | sed -n 's/.* v=\([0-9.]*\) .*/\1/p; s/^memcached \([0-9.]*\).*/\1/p'
}

# The server itself is in the tools package, under the name of the RDB checker: the program looks at
# the name it is started by.
copy_programs() {
	local engine=$1 tree=$2/usr/bin to=$3/libexec p
	if [[ $engine == memcached ]]; then
		cp -- "$tree/memcached" "$to/memcached"
		return
	fi
	cp -L -- "$tree/$engine-check-rdb" "$to/$engine-server"
	for p in cli benchmark; do
		cp -L -- "$tree/$engine-$p" "$to/$engine-$p"
	done
}

# loader_of DIR: prints the path of the dynamic loader below a directory. An absolute link there
# may lead out of the directory, to the system's own; such a one does not count.
loader_of() {
	local f
	while IFS= read -r f; do
		if [[ -e $f && $(readlink -f "$f") == "$(readlink -f "$1")"/* ]]; then
			echo "$f"
			return 0
		fi
	done < <(find "$1" -name 'ld-linux-*.so.*' -o -name 'ld64.so.*')
	return 1
}

# copy_libraries TREE NEW: the libc's own loader, and what the programs need according to it.
copy_libraries() {
	local tree=$1 new=$2 loader path p f l
	loader=$(loader_of "$tree") || die "$EX_FAIL" "no loader in the packages: libc6 is missing among them"
	path=$(find "$tree" -name '*.so*' -not -path '*/lua/*' -not -path '*/gconv/*' -printf '%h\n' | sort -u | paste -sd:)
	cp -L -- "$loader" "$new/lib/$(basename "$loader")"
	for p in "$new"/libexec/* "$tree"/usr/lib/*/lua/5.1/cjson.so "$tree"/usr/lib/*/lua/5.1/bit.so; do
		[[ -e $p ]] || continue
		while read -r l f; do
			[[ $f == "$tree"/* ]] || die "$EX_FAIL" "$(basename "$p") needs $l, which none of the packages has"
			[[ -e $new/lib/$l ]] || cp -L -- "$f" "$new/lib/$l"
		done < <("$loader" --inhibit-cache --library-path "$path" --list "$p" |
			sed -n 's|^[[:space:]]*\([^/ ]*\) => \(.*\) (0x[0-9a-f]*)$|\1 \2|p')
	done
	# Opened by name at run time: host names and users (a separate file before glibc 2.34), and
	# unwinding when a thread is cancelled.
	for l in libnss_files.so.2 libnss_dns.so.2 libresolv.so.2 libgcc_s.so.1; do
		[[ ! -e $new/lib/$l ]] || continue
		f=$(find "$tree" -name "$l" | sed -n 1p)
		[[ -z $f ]] || cp -L -- "$f" "$new/lib/$l"
	done
	chmod 755 "$new"/lib/* "$new"/libexec/*
}

# Redis 6.0 is linked with the distribution's Lua and finds cjson and bit by LUA_CPATH.
copy_lua() {
	local f
	for f in "$1"/usr/lib/*/lua/5.1/cjson.so "$1"/usr/lib/*/lua/5.1/bit.so; do
		[[ -e $f ]] || continue
		mkdir -p "$2/lua"
		cp -L -- "$f" "$2/lua/"
	done
}

# Each program is started by a small script that becomes the program, so that the process that was
# started is the engine. The loader is called by name, which leaves the host's libc out of it.
write_wrappers() {
	local new=$1 p loader lua=''
	loader=$(basename "$(loader_of "$new/lib")")
	# shellcheck disable=SC2016 # P is expanded when the wrapper runs
	[[ ! -d $new/lua ]] || lua='export LUA_CPATH="$P/lua/?.so"'
	for p in "$new"/libexec/*; do
		p=$(basename "$p")
		cat >"$new/bin/$p" <<WRAPPER
#!/bin/sh
P=\$(cd "\${0%/*}/.." && pwd -P) || exit 127
$lua
exec "\$P/lib/$loader" --inhibit-cache --library-path "\$P/lib" "\$P/libexec/$p" "\$@"
WRAPPER
		chmod 755 "$new/bin/$p"
	done
}

# write_manifest NEW ENGINE VERSION DEBS
write_manifest() {
	local new=$1 engine=$2 version=$3 debs=$4 server cli path package v sum sep
	server=$(server_of "$engine") cli=''
	[[ $engine == memcached ]] || cli=bin/$engine-cli
	{
		cat <<HEAD
{
  "format": 1,
  "engine": "$engine",
  "version": "$version",
  "architecture": "$(dpkg --print-architecture)",
  "distribution": "$distribution",
  "suite": "$suite",
  "server": "bin/$server",
  "cli": "$cli",
  "installed": "$(date -u +%Y-%m-%dT%H:%M:%SZ)",
HEAD
		echo '  "packages": ['
		sep=''
		while IFS=$'\t' read -r path package v; do
			sum=$(sha256sum <"$path")
			printf '%s    {"name": "%s", "version": "%s", "file": "%s", "sha256": "%s"}' "$sep" "$package" "$v" "${path##*/}" "${sum%% *}"
			sep=$',\n'
		done <"$debs"
		printf '\n  ],\n  "files": {\n'
		(cd "$new" && find . -type f -not -name 'manifest.json*' -printf '%P\0' | sort -z | xargs -0 sha256sum) |
			awk '{ printf "%s    \"%s\": \"%s\"", sep, $2, $1; sep = ",\n" } END { print "" }'
		printf '  }\n}\n'
	} >"$new/manifest.json.part"
	mv -- "$new/manifest.json.part" "$new/manifest.json"
}

# place NEW DIR: puts a finished bundle in its place; what was there before goes away with the work directory.
place() {
	sync -f "$1/manifest.json" 2>/dev/null || true
	if [[ -e $2 ]]; then
		rm -rf -- "$work/old"
		mv -- "$2" "$work/old"
	fi
	mv -- "$1" "$2"
}

# smoke_test NEW ENGINE VERSION: starts the engine, asks it who it is, stops it.
smoke_test() {
	if [[ $2 == memcached ]]; then
		smoke_memcached "$1" "$3"
	else
		smoke_redis "$@"
	fi
}

# Becomes a program that dies when this script is killed. For use in the background only.
bound_to_us() {
	if command -v setpriv >/dev/null; then
		exec setpriv --pdeathsig KILL "$@"
	fi
	exec "$@"
}

smoke_redis() {
	local new=$1 engine=$2 version=$3 dir pid i said=''
	# A socket's path may have 107 bytes at most, so not below the work directory.
	dir=$(mktemp -d "${TMPDIR:-/tmp}/engine.XXXXXX")
	smoke_dir=$dir
	bound_to_us "$new/bin/$engine-server" --port 0 --unixsocket "$dir/s" --dir "$dir" --save '' >"$dir/log" 2>&1 9>&- &
	pid=$!
	smoke_pid=$pid
	for ((i = 0; i < 100; i++)); do
		[[ $("$new/bin/$engine-cli" -s "$dir/s" ping 2>/dev/null) != PONG ]] || break
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.05
	done
	said=$("$new/bin/$engine-cli" -s "$dir/s" info server 2>/dev/null | tr -d '\r' | sed -n "s/^${engine}_version://p") || true
	if [[ $said == "$version" ]]; then
		said=$said/$("$new/bin/$engine-cli" -s "$dir/s" eval 'return cjson.encode({1, bit.bor(1, 2)})' 0 2>&1) || true
	fi
	"$new/bin/$engine-cli" -s "$dir/s" shutdown nosave >/dev/null 2>&1 || kill -9 "$pid" 2>/dev/null || true
	wait "$pid" || true
	smoke_pid=''
	if [[ $said != "$version/[1,3]" ]]; then
		sed 's/^/    /' "$dir/log" >&2
		die "$EX_FAIL" "$engine $version does not run here (it answered '$said')"
	fi
	rm -rf -- "$dir"
	smoke_dir=''
}

smoke_memcached() {
	local new=$1 version=$2 port pid i said='' user=()
	[[ $(id -u) -ne 0 ]] || user=(-u root)
	for ((i = 0; i < 20 && ${#said} == 0; i++)); do
		port=$((20000 + RANDOM % 20000))
		bound_to_us "$new/bin/memcached" -l 127.0.0.1 -p "$port" -U 0 "${user[@]}" >/dev/null 2>&1 9>&- &
		pid=$!
		smoke_pid=$pid
		said=$(memcached_version "$port" "$pid") || true
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		smoke_pid=''
	done
	[[ $said == "$version" ]] || die "$EX_FAIL" "memcached $version does not run here (it answered '$said')"
}

# memcached_version PORT PID: asks until it answers or has gone.
memcached_version() {
	local i line
	for ((i = 0; i < 60; i++)); do
		kill -0 "$2" 2>/dev/null || return 1
		if line=$( (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'version\r\n' >&3 && IFS= read -r -t 2 l <&3 && echo "$l") 2>/dev/null); then
			line=${line%$'\r'}
			echo "${line#VERSION }"
			return 0
		fi
		sleep 0.05
	done
	return 1
}
