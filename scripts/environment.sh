# Sourced by scripts/demo and scripts/test: makes .venv with the extras named in the arguments, or keeps it when it
# already has them. With a ROS distribution sourced the environment is made on top of it, else it gets the ROS wheels.

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
    # colcon-core refuses setuptools 80 and later, and builds the package with the environment's own
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "setuptools<80" wheel
    .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-build-isolation ".[$extras]" |
      grep -E --line-buffered '^(Collecting|Downloading|Installing|Successfully|ERROR)' | cut -c1-110
    # the checkout itself is what runs, not a copy of it
    .venv/bin/python -m pip uninstall --quiet --yes campus_visual_gps
    echo "$wanted" >"$stamp"
  fi
}
