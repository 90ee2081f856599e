"""The few things that roadseg asks of CUDA: memory, streams, events, kernels, graphs.

    from roadseg.cuda.load import load_cuda

    cuda = load_cuda()
    stream = cuda.stream()

`load_cuda` picks cuda-bindings where it is installed and pycuda otherwise. Tests use
`roadseg.testing.cuda`, which keeps "device" memory in host memory.
"""
