# Install turngap into an environment of its own, and tell the later steps where it and its weights are.
# SOURCE: turngap's checkout. EXTRAS: as in pip install 'turngap[EXTRAS]'. CACHE: the folder of the weights.
set -euo pipefail
environment=${RUNNER_TEMP:-${TMPDIR:-/tmp}}/turngap-venv
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet "$SOURCE[$EXTRAS]"
{
  echo "TURNGAP_BIN=$environment/bin"
  echo "TURNGAP_CACHE=$CACHE"
} >> "$GITHUB_ENV"
