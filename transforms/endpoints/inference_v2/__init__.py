"""Calls models behind the Open Inference Protocol over gRPC: Triton, MLServer, KServe, TorchServe, OpenVINO.

Begin with `endpoint`; `tensors` says what travels, `outputs` what becomes of the answer's tensors.
"""
