"""The names of spans and attributes are a wire format: agents of other versions write and read them."""

from turngap_agent import tracing


def test_names_on_the_wire_do_not_change():
    """Every public string of the module, as it was first released."""
    names = {name: value for name, value in vars(tracing).items() if name.isupper() and isinstance(value, str)}
    assert names == {
        "SPAN_PREFIX": "turngap.",
        "CALL_SPAN": "turngap.call",
        "TURN_SPAN": "turngap.turn",
        "SYNTHESIS_SPAN": "turngap.synthesis",
        "START_NS": "turngap.start_mono_ns",
        "END_NS": "turngap.end_mono_ns",
        "CALL_SID": "turngap.call_sid",
        "TURN": "turngap.turn",
        "ATTEMPT": "turngap.attempt",
        "HEARD": "turngap.heard",
        "CANCELLED": "turngap.cancelled",
        "TRANSCRIPT": "turngap.transcript",
        "REPLY": "turngap.reply",
        "FIRST_CLAUSE_TEXT": "turngap.first_clause",
        "PROVISIONAL_NS": "turngap.provisional_mono_ns",
        "CONFIRMED_NS": "turngap.confirmed_mono_ns",
        "CONFIRMED_BY": "turngap.confirmed_by",
        "COMPUTE_MS": "turngap.compute_ms",
        "SENT_NS": "turngap.first_sent_mono_ns",
        "ARRIVAL_FIRST_CHUNK": "turngap.arrival.first_chunk",
        "ARRIVALS_NS": "turngap.arrival.mono_ns",
        "SPANS": "turngap.spans",
        "WAITED_MS": "turngap.waited_ms",
        "BESIDE_VOID": "turngap.beside_void",
        "ERROR": "turngap.error",
        "LLM_QUEUE_MS": "turngap.llm.queue_ms",
        "LLM_PREFILL_MS": "turngap.llm.prefill_ms",
        "LLM_DECODE_MS": "turngap.llm.decode_ms",
        "LLM_PROMPT_TOKENS": "turngap.llm.prompt_tokens",
        "PREFIX_CACHED_TOKENS": "turngap.llm.prefix_cached_tokens",
        "PREFIX_ALLOWED_TOKENS": "turngap.llm.prefix_allowed_tokens",
        "PAUSED_NS": "turngap.paused_mono_ns",
        "WENT_ON_NS": "turngap.went_on_mono_ns",
        "HEARD_TEXT": "turngap.heard_text",
        "ATTEMPTS": "turngap.attempts",
        "BOOT_ID": "turngap.boot_id",
        "ANCHOR_NS": "turngap.anchor_unix_ns",
        "LAG_GAUGE": "turngap_event_loop_lag_p99_seconds",
        "KV_CACHE_GAUGE": "turngap_kv_cache_bytes",
        "KV_RESERVED": "reserved",
        "KV_USED_PEAK": "used_at_peak",
    }
