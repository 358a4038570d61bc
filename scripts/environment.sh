# Sourced by scripts/demo and scripts/test: makes .venv with the extras named in the arguments, or keeps it when it
# already has them. With a ROS distribution sourced the environment is made on top of it, else it gets the ROS wheels.

# Kept bytecode saves every later process seconds of import; some machines switch it off.
unset PYTHONDONTWRITEBYTECODE

# A setting of pip, whether a file or a variable has it: one line for each that is set, variables first.
_pip_setting() {
  .venv/bin/python -m pip config list | sed -n "s/^[^=]*\\.$1='\\(.*\\)'$/\\1/p" | sed 's/\\n/ /g'
}

# uv downloads and unpacks several packages at once, pip one after the other, and uv keeps them for the next time.
# It reads none of pip's settings, so the machine's package indexes are handed on. Fails where uv cannot be had or does
# not get along with them.
_install_with_uv() (
  local name options=()
  .venv/bin/python -m pip install --quiet --disable-pip-version-check uv || return 1
  for name in ${1//,/ }; do
    options+=(--extra "$name")
  done
  for name in $(_pip_setting find-links); do
    options+=(--find-links "$name")
  done
  for name in $(_pip_setting extra-index-url); do
    options+=(--extra-index-url "$name")
  done
  for name in $(_pip_setting constraint); do
    options+=(--constraint "$name")
  done
  for name in $(_pip_setting index-url | head -1); do
    options+=(--index-url "$name")
  done
  for name in $(_pip_setting cert | head -1); do
    export SSL_CERT_FILE="$name"
  done
  UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}" .venv/bin/uv pip install --python .venv/bin/python --quiet \
    --index-strategy unsafe-best-match --no-build-isolation --requirements setup.py "${options[@]}" || {
    echo "uv cannot install them; pip does it"
    return 1
  }
)

_install_with_pip() {
  .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-build-isolation ".[$1]" |
    grep -E --line-buffered '^(Collecting|Downloading|Installing|Successfully|ERROR)' | cut -c1-110
  # the checkout itself is what runs, not a copy of it
  .venv/bin/python -m pip uninstall --quiet --yes campus_visual_gps
}

make_environment() {
  local extras="$1" python="${PYTHON:-python3}" stamp wanted
  "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' 2>/dev/null || {
    echo "error: $python is not Python 3.10 or newer; name one with PYTHON=/path/to/python3" >&2
    return 1
  }
  local options=()
  if [ -n "${ROS_DISTRO:-}" ]; then
    echo "== ROS $ROS_DISTRO is sourced: the environment is made on top of it"
    options+=(--system-site-packages)
    extras="${extras/ros,/}"
  elif ! "$python" -c 'import sys; sys.exit(not sys.version_info[:2] <= (3, 13))'; then
    echo "error: the ROS wheels are for Python 3.10 to 3.13; source a ROS distribution or set PYTHON" >&2
    return 1
  fi
  stamp=.venv/made-from
  wanted="$extras $("$python" -V) $(cksum <setup.py)"
  if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    echo "== making .venv with .[$extras] (several GB the first time: torch is large)"
    "$python" -m venv "${options[@]}" .venv || {
      echo "error: cannot make .venv; on Debian and Ubuntu: apt install python3-venv" >&2
      return 1
    }
    # colcon-core refuses setuptools 80 and later; packages without a wheel are built with the environment's own
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "setuptools<80" wheel
    if [ -n "${ROS_DISTRO:-}" ] || ! _install_with_uv "$extras"; then
      _install_with_pip "$extras"
    fi
    echo "$wanted" >"$stamp"
  fi
}
