#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image. It installs the course of the zip file.
set -euo pipefail

course=/autograder/source/course
export DEBIAN_FRONTEND=noninteractive UV_PYTHON_INSTALL_DIR=/opt/python

apt-get update
apt-get install --yes bubblewrap python3-venv

# Gradescope's Ubuntu may have a Python that is too old for the course. uv finds a newer one, or fetches it.
python3 -m venv /opt/uv
/opt/uv/bin/pip install uv
/opt/uv/bin/uv venv --python ">=3.11" /opt/eip
/opt/uv/bin/uv pip install --python /opt/eip/bin/python \
    --constraint "$course/constraints.txt" --editable "$course[course]"

# The secret that hidden seeds are made of: the same for all learners, and unreadable for their answers.
secret=/autograder/source/secret
if [ ! -e "$secret" ]; then
    head --bytes 32 /dev/urandom | base64 > "$secret"
fi
chmod 600 "$secret"
