# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # variables shared with the script that sources this
# Sourced by scripts/engines: finds packages through a private apt root, so that apt itself checks
# signatures and hashes while the system's own package state is never read for writing.
# Uses from the caller: work, deb_cache, say, die, catalogue and the exit codes. Sets suite and
# distribution to those of what was resolved last.

# The private root in use, and what apt_root found out.
aptroot='' offered=0 keyring=''

# Prints debian or ubuntu.
host_distribution() {
	local id like
	id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}") || id=''
	like=$(. /etc/os-release 2>/dev/null && echo "${ID_LIKE:-}") || like=''
	case " $id $like " in
	*' ubuntu '*) echo ubuntu ;;
	*' debian '*) echo debian ;;
	*) die "$EX_MISSING" "this machine is neither Debian nor Ubuntu; put redis-server and valkey-server on PATH instead" ;;
	esac
}

keyring_of() {
	local f
	for f in "/usr/share/keyrings/$1-archive-keyring.gpg" "/usr/share/keyrings/$1-archive-keyring.pgp"; do
		if [[ -r $f ]]; then
			echo "$f"
			return 0
		fi
	done
	die "$EX_MISSING" "the distribution's keyring is missing: install the package $1-archive-keyring"
}

# Prints "BASE SUITE" for every repository of the machine's apt configuration. apt itself reads
# it, whatever its form; the empty lists directory makes it print every index it would fetch.
machine_repositories() {
	local lists=$work/lists
	mkdir -p "$lists/partial"
	apt-get -o Dir::State::lists="$lists" -o Debug::NoLocking=1 update --print-uris 2>/dev/null |
		sed -n "s|^'\(.*\)/dists/\(.*\)/\(In\)\{0,1\}Release'.*|\1 \2|p" | awk '!seen[$0]++'
}

# mirrors SUITE: prints the base addresses that may carry the suite, likeliest first. A
# distribution's own mirror also carries NAME-updates or NAME-security, which third parties do not.
mirrors() {
	machine_repositories | awk -v want="$1" '
		{ base[NR] = $1; suite[NR] = $2; if ($2 ~ /-(updates|security)$|\/updates$/) own[$1] = 1 }
		$2 ~ /-security$|\/updates$/ { security[$1] = 1 }
		{ if ($2 !~ /-security$|\/updates$/) main[$1] = 1 }
		END {
			for (i = 1; i <= NR; i++) {
				b = base[i]
				isSecurity = (want ~ /-security$/)
				if (isSecurity && security[b]) rank = 1
				else if (!isSecurity && main[b] && own[b]) rank = 1
				else if (main[b] && own[b]) rank = 2
				else if (main[b]) rank = 3
				else continue
				if (!(b in best) || rank < best[b]) best[b] = rank
			}
			for (r = 1; r <= 3; r++) for (i = 1; i <= NR; i++) if (best[base[i]] == r) { print base[i]; best[base[i]] = 0 }
		}'
}

# apt_root SUITES: makes the private root of a comma-separated list of suites, once a run, and
# fetches its indexes. Leaves its path in aptroot, and in offered whether a mirror has the first suite.
apt_root() {
	local suites=$1 base first=${1%%,*} bases
	aptroot=$work/apt/$first
	offered=1
	[[ ! -e $aptroot/.ready ]] || return 0
	rm -rf -- "$aptroot"
	mkdir -p "$aptroot"/etc/apt/{sources.list.d,preferences.d,apt.conf.d,trusted.gpg.d} \
		"$aptroot"/var/lib/{dpkg,apt/lists/partial} "$aptroot"/var/cache/apt/archives/partial "$aptroot/var/log/apt"
	: >"$aptroot/var/lib/dpkg/status"
	apt_conf >"$aptroot/apt.conf"
	keyring=$(keyring_of "$distribution")
	mapfile -t bases < <(mirrors "$first")
	[[ ${#bases[@]} -gt 0 ]] || die "$EX_MISSING" "this machine's apt configuration names no mirror (no deb lines in" \
		"/etc/apt/sources.list or /etc/apt/sources.list.d)"
	for base in "${bases[@]}"; do
		apt_sources "$suites" "$base" >"$aptroot/etc/apt/sources.list.d/engines.sources"
		if apt_update "$first"; then
			: >"$aptroot/.ready"
			return 0
		fi
	done
	offered=0
}

# Prints the configuration of the private root: the machine's way to the network (proxy,
# certificates, retries) and nothing else of its settings: no hooks, no weakened checks.
apt_conf() {
	local arch
	arch=$(dpkg --print-architecture)
	cat <<CONF
Dir "$aptroot";
Dir::State::status "$aptroot/var/lib/dpkg/status";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
APT::Architecture "$arch";
#clear APT::Architectures;
APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
CONF
	apt-config dump | grep -E '^Acquire::(https?|tor|Retries|ForceIPv[46]|Check-Date|Queue-Mode|Send-Connect)\b' || true
	cat <<'CONF'
Acquire::Retries "3";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
CONF
}

# apt_sources SUITES BASE: prints one stanza a suite.
apt_sources() {
	local s base components=main
	[[ $distribution != ubuntu ]] || components='main universe'
	local IFS=,
	for s in $1; do
		base=$2
		if [[ $s == *-security ]]; then
			base=$(mirrors "$s" | sed -n 1p)
			[[ -n $base ]] || continue
		fi
		printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' "$base" "$s" "$components" "$keyring"
		# A suite in the making is signed for a week only, and mirrors that lag behind are common.
		[[ $s != forky && $s != devel ]] || echo 'Check-Valid-Until: no'
		echo
	done
}

# apt_update SUITE: fetches the indexes, three times at most. Returns 1 when the suite is not there.
apt_update() {
	local try log=$aptroot/update.log
	for try in 1 2 3; do
		say "$1: reading the package lists"
		if apt_in_root apt-get -qq -o Acquire::Retries=0 update >"$log" 2>&1; then
			return 0
		fi
		if grep -qE 'NO_PUBKEY|no public key|Missing key' "$log"; then
			sed 's/^/    /' "$log" >&2
			die "$EX_MISSING" "$1 is signed by a key that this machine's keyring does not hold:" \
				"upgrade the package $distribution-archive-keyring"
		fi
		if grep -qE 'is not signed|signatures were invalid|BADSIG|EXPKEYSIG|Hash Sum mismatch' "$log"; then
			sed 's/^/    /' "$log" >&2
			[[ $try -lt 3 ]] || die "$EX_VERIFY" "the signature of $1 could not be verified; nothing was installed"
			continue
		fi
		if grep -qE 'does not have a Release file|404 +Not Found|no longer has a Release file' "$log"; then
			return 1
		fi
		[[ $try -eq 3 ]] || sleep "$try"
	done
	sed 's/^/    /' "$log" >&2
	die "$EX_MIRROR" "the mirror cannot be reached for $1 (apt's words are above)"
}

apt_in_root() {
	APT_CONFIG=$aptroot/apt.conf "$@"
}

# resolve NAME FILE: finds the newest packages of a line, downloads those not in the cache, and
# writes "path<TAB>package<TAB>version" lines for them to FILE.
resolve() {
	local name=$1 out=$2 row_name row_dist package suites version want=${1#*-} host tried='' found=''
	host=$(host_distribution)
	while read -r row_name row_dist package suites; do
		[[ $row_name == "$name" && $row_dist == "$host" ]] || continue
		distribution=$row_dist suite=${suites%%,*} tried=$tried${tried:+, }$suite
		apt_root "$suites"
		[[ $offered -eq 1 ]] || continue
		version=$(apt_in_root apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
		[[ -n $version && $version != '(none)' ]] || continue
		if ! version_in_line "$version" "$want"; then
			found=$found${found:+, }"$suite has $version"
			continue
		fi
		say "$name: $package $version from $suite"
		download "$package" "$out"
		return 0
	done < <(catalogue)
	[[ -n $tried ]] || die "$EX_MIRROR" "$name is not packaged for $host"
	die "$EX_MIRROR" "$name is not offered by this machine's mirror (looked in: $tried${found:+; $found})"
}

# version_in_line 5:7.0.15-1~deb12u10 7.0: whether a package version belongs to an engine line.
version_in_line() {
	local v=${1#*:}
	v=${v%%[-+~]*}
	[[ $v == "$2" || $v == "$2".* ]]
}

# Prints the package and those of its dependencies that can hold libraries, followed breadth first
# and through such packages only: the rest (adduser, debconf, ...) is of no use without the system.
closure() {
	apt_in_root apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
		--no-replaces --no-enhances "$1" | awk -v root="$1" '
		/^[^ |]/ { from = $1; known[from] = 1; next }
		/Depends: / { n[from]++; dep[from, n[from]] = $NF }
		END {
			queue[1] = root; last = 1; seen[root] = 1
			for (i = 1; i <= last; i++) {
				p = queue[i]; print p
				for (k = 1; k <= n[p]; k++) {
					d = dep[p, k]
					if (d in seen || !(d in known) || d !~ /^(lib|lua|zlib1g)/ || d == "libc-bin") continue
					seen[d] = 1; queue[++last] = d
				}
			}
		}'
}

# Prints path<TAB>package<TAB>version for a package file of the cache; the name holds all three.
deb_line() {
	local file=${1##*/} rest
	rest=${file#*_}
	printf '%s\t%s\t%s\n' "$1" "${file%%_*}" "$(printf '%s' "${rest%_*}" | sed 's/%3a/:/g')"
}

# hash_matches FILE ALGORITHM:HEX
hash_matches() {
	local tool
	case ${2%%:*} in
	SHA256) tool=sha256sum ;;
	SHA512) tool=sha512sum ;;
	*) return 1 ;;
	esac
	[[ -f $1 && $("$tool" <"$1") == "${2#*:}  -" ]]
}

# download PACKAGE FILE: the package's closure into the cache, each file checked against the hash in
# the signed index whether it was fetched now or earlier.
download() {
	local package=$1 out=$2 uri file size hash list=$work/$1.uris missing=() bytes=0
	mapfile -t packages < <(closure "$package")
	apt_in_root apt-get download --print-uris "${packages[@]}" >"$list"
	while read -r uri file size hash; do
		hash_matches "$deb_cache/$file" "$hash" && continue
		missing+=("${file%%_*}")
		bytes=$((bytes + size))
	done <"$list"
	if [[ ${#missing[@]} -gt 0 ]]; then
		say "$package: downloading ${#missing[@]} packages, $((bytes / 1024)) KiB"
		rm -rf -- "$work/fetch"
		mkdir -p "$work/fetch"
		if ! (cd "$work/fetch" && apt_in_root apt-get -qq download "${missing[@]}" >"$work/fetch.log" 2>&1); then
			sed 's/^/    /' "$work/fetch.log" >&2
			die "$EX_MIRROR" "cannot download $package"
		fi
	fi
	: >"$out"
	while read -r uri file size hash; do
		if [[ -f $work/fetch/$file ]]; then
			hash_matches "$work/fetch/$file" "$hash" || die "$EX_VERIFY" "$file does not have the hash that the signed index states"
			mv -- "$work/fetch/$file" "$deb_cache/$file"
		fi
		hash_matches "$deb_cache/$file" "$hash" || die "$EX_VERIFY" "$file (${uri//\'/}) was not downloaded whole"
		deb_line "$deb_cache/$file" >>"$out"
	done <"$list"
}
