# Fetch what a profile needs, and the callers' prompts: where Debian's packages cannot be had, the voice is synthetic.
# PROFILE: a profile's name or file.
set -euo pipefail
"$TURNGAP_BIN/turngap" weights pull "$PROFILE"
"$TURNGAP_BIN/turngap" weights pull asterisk-prompts || echo "::warning::no recorded prompts: the caller's voice is synthetic"
"$TURNGAP_BIN/turngap" doctor --profile "$PROFILE" || true
