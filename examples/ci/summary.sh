# Write the newest run to the job's page, and compare it with a baseline.
# BASELINE: a run folder; or BASELINE_BRANCH and BASELINE_PATH: one on a branch. FAIL_ON_WORSE: true or false.
set -euo pipefail
newest=
for record in turngap-ci/results/*/run.json; do
  if [ -f "$record" ] && { [ -z "$newest" ] || [ "$record" -nt "$newest" ]; }; then newest=$record; fi
done
if [ -z "$newest" ]; then
  echo "::error::no run was made; the step before says why"
  exit 1
fi
run=$(dirname "$newest")
"$TURNGAP_BIN/turngap" export "$run" --format markdown >> "$GITHUB_STEP_SUMMARY"
{
  "$TURNGAP_BIN/python" -c 'import json, sys
print("verdict=" + json.load(open(sys.argv[1]))["verdict"])' "$newest"
  echo "run=$run"
  echo "report=turngap-ci/reports/$(basename "$run").html"
} >> "$GITHUB_OUTPUT"

if [ -z "${BASELINE:-}" ] && [ -n "${BASELINE_BRANCH:-}" ]; then
  git fetch --quiet --depth 1 origin "$BASELINE_BRANCH"
  BASELINE=${RUNNER_TEMP:-${TMPDIR:-/tmp}}/turngap-baseline
  mkdir -p "$BASELINE"
  git archive FETCH_HEAD "$BASELINE_PATH" | tar -x -C "$BASELINE"
  BASELINE=$BASELINE/$BASELINE_PATH
fi
if [ -n "${BASELINE:-}" ]; then
  if [ "${FAIL_ON_WORSE:-false}" = true ]; then worse=(--fail-on-worse); else worse=(); fi
  { echo '```'; "$TURNGAP_BIN/turngap" compare "$run" "$BASELINE" "${worse[@]}" && code=0 || code=$?; echo '```'; } \
    >> "$GITHUB_STEP_SUMMARY"
  exit "$code"
fi
