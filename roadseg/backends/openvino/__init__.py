"""OpenVINO: any x86 or Arm processor."""
