# Call the agent and judge it, as a test: the job fails unless the verdict is PASS, or MEASURED where BUDGET is empty.
# SCENARIO: a file, or the name of one that ships. PROFILE or AGENT_URL: the agent. BUDGET, TURNS: as the options.
set -euo pipefail
mkdir -p turngap-ci
if [ ! -f "$SCENARIO" ]; then
  SCENARIO=$("$TURNGAP_BIN/python" -c 'import importlib.resources, sys
print(importlib.resources.files("turngap") / "scenarios" / f"{sys.argv[1]}.scenario.yaml")' "$SCENARIO")
fi
if [ -n "${AGENT_URL:-}" ]; then agent=(--agent-url "$AGENT_URL"); else agent=(--profile "$PROFILE"); fi
options=()
if [ -n "${BUDGET:-}" ]; then options+=(--budget "$BUDGET"); fi
if [ -n "${TURNS:-}" ]; then options+=(--turns "$TURNS"); fi
"$TURNGAP_BIN/pytest" -p no:xdist -p no:cacheprovider --rootdir . --override-ini turngap_out=turngap-ci/results \
  --benchmark "$SCENARIO" "${agent[@]}" "${options[@]}" \
  --junitxml turngap-ci/junit.xml --benchmark-json turngap-ci/turn-gap.json
