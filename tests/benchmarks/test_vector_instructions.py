"""The look at the assembly finds vectors where they are, and none where none are."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from benchmarks import vector_instructions

SCALAR = ".L1:\n movzbl (%rax), %ecx\n addl %ecx, %edx\n incq %rax\n jne .L1\n"
MOVED = ".L2:\n vmovdqu (%rax), %ymm0\n vmovdqu %ymm0, (%rcx)\n vaddss %xmm1, %xmm2, %xmm2\n jb .L2\n"
VECTOR = ".L3:\n vpaddd (%rax), %zmm0, %zmm0\n vpmulld %zmm0, %zmm1, %zmm1\n addq $64, %rax\n jne .L3\n"


def test_only_arithmetic_on_whole_vectors_counts():
    assert vector_instructions.loops(SCALAR) == [vector_instructions.Loop(4, 0, 0)]
    assert vector_instructions.loops(MOVED) == [vector_instructions.Loop(4, 0, 0)]
    assert vector_instructions.loops(VECTOR) == [vector_instructions.Loop(4, 2, 512)]
    assert vector_instructions.best(vector_instructions.loops(SCALAR + VECTOR)) == vector_instructions.Loop(
        4, 2, 512
    )
    assert vector_instructions.loops(" ret\n") == [] and vector_instructions.best([]).packed == 0


def test_a_loop_is_counted_without_those_within_it():
    nested = ".L0:\n vpxor %ymm0, %ymm0, %ymm0\n" + VECTOR + " decq %rdx\n jne .L0\n"
    assert sorted(vector_instructions.loops(nested), key=lambda loop: loop.bits) == [
        vector_instructions.Loop(3, 1, 256),
        vector_instructions.Loop(4, 2, 512),
    ]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instructions looked for are those of x86-64")
def test_the_kernels_that_can_be_are_vectorized():
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this machine has no vectors of 256 bits")
    names = [
        "subtract",
        "checksum",
        "predict_mean",
        "restore_mean",
        "predict_past",
        "restore_past",
        "extent",
        "quantize_sqrt",
    ]
    for name, loop in vector_instructions.inspected(names).items():
        assert loop.bits >= 256 and loop.packed >= 0.4 * loop.instructions, (name, loop)


def test_every_kernel_that_encodes_or_decodes_is_looked_at():
    from photon_gpu.kernels import cpu

    helpers = {name for name in vars(cpu) if name.startswith("_")}
    kernels = {name for name, value in vars(cpu).items() if hasattr(value, "inspect_asm")} - helpers
    rest = {
        "quantize_thresholds",
        "quantize_thresholds_phased",
        "count_levels",
        "sort_levels",
        "restore_full_sorted",
    }
    assert (kernels - rest) | {"quantize_sqrt"} == set(vector_instructions.calls())
