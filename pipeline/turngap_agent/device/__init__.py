"""What engines that use one library share: torch, CTranslate2 or ONNX Runtime."""
