"""The CUDA source through NVRTC, with the very options the product's CuPy uses, for every supported GPU.

NVRTC compiles without a GPU. What it gives is inspected, not run.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.cuda.on_cpu import host_module

KERNELS = Path(__file__).parents[3] / "kernels"
SOURCES = (
    "quantize.cu",
    "predictors.cu",
    "residuals.cu",
    "zstd_huffman.cu",
    "zstd_huffman_decode.cu",
    "crc32.cu",
)
SOURCE = "".join((KERNELS / name).read_text() for name in SOURCES)
ARCHITECTURES = ("75", "80", "89", "90", "100", "120")
MOST_REGISTERS = 80
"""With 256 threads a block, three blocks fit a multiprocessor's 65,536 registers."""

nvrtc = pytest.importorskip("cupy_backends.cuda.libs.nvrtc", reason="CuPy is not installed")
try:
    nvrtc.getVersion()
except Exception as error:  # CuPy's own ImportError or RuntimeError, as the library is absent
    pytest.skip(
        f"NVRTC cannot be loaded ({error}): pip install nvidia-cuda-nvrtc-cu12", allow_module_level=True
    )


@functools.cache
def product_options() -> tuple[str, ...]:
    """Options of ``kernels/cuda_launch.py`` and those that CuPy's ``RawModule`` adds, from CuPy itself."""
    from cupy.cuda import compiler

    text = (KERNELS / "cuda_launch.py").read_text()
    match = re.search(r"^OPTIONS = \((.*)\)$", text, re.MULTILINE)
    assert match
    ours = tuple(re.findall(r'"([^"]+)"', match[1]))
    seen: list[tuple[str, ...]] = []

    def record(source: str, options: tuple[str, ...], *_: object, **__: object) -> None:
        seen.append(tuple(options))
        raise InterruptedError

    names = ("_compile_using_nvrtc_no_warning", "_preprocess", "_get_arch_for_options_for_nvrtc")
    originals = {name: getattr(compiler, name) for name in names}
    for name, stub in zip(names, (record, lambda *_: "", lambda *_: ("", "cubin")), strict=True):
        setattr(compiler, name, stub)  # the two others ask the device
    try:
        compiler._compile_with_cache_cuda(SOURCE + "// not in CuPy's cache", ours, "80", cache_in_memory=True)
    except InterruptedError:
        pass
    finally:
        for name, original in originals.items():
            setattr(compiler, name, original)
    return (*seen[0], "--device-as-default-execution-space")


def compiled(architecture: str, options: tuple[str, ...], text: str = SOURCE) -> tuple[str, str, bytes]:
    """PTX or nothing, the log, and the binary or nothing."""
    program = nvrtc.createProgram(text, "quantize.cu", (), ())
    try:
        nvrtc.compileProgram(program, (*options, f"-arch={architecture}"))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))
    log = nvrtc.getProgramLog(program)
    if architecture.startswith("compute"):
        ptx = nvrtc.getPTX(program)
        return (ptx.decode() if isinstance(ptx, bytes) else ptx), log, b""
    return "", log, nvrtc.getCUBIN(program)


def test_options_are_those_of_the_product() -> None:
    options = product_options()
    assert "--fmad=false" in options and "--std=c++17" in options
    # CuPy flushes subnormal float32 to zero: the source must not hold an operation that this changes.
    assert "-ftz=true" in options


@functools.cache
def ptx_of(architecture: str) -> str:
    return compiled(f"compute_{architecture}", product_options())[0]


def faults(ptx: str) -> list[str]:
    """What may not stand in the PTX: it would round otherwise, or be slow."""
    forbidden = {
        "fused multiply-add": r"\b(fma|mad)\.(rn|rz|rm|rp|f)[.\w]*\b",
        "approximate operation": r"\b\w+\.approx[.\w]*",
        "flush of subnormal numbers": r"\b\w+\.(?:\w+\.)*ftz[.\w]*",
        "local memory": r"\.local\b",
        "call of a function": r"\bcall\b",
    }
    return [
        f"{name}: {match[0]}" for name, pattern in forbidden.items() if (match := re.search(pattern, ptx))
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_ptx_holds_nothing_that_rounds_otherwise(architecture: str) -> None:
    ptx = ptx_of(architecture)
    assert set(re.findall(r"\.entry (\w+)", ptx)) == set(host_module(SOURCE, "").names)
    assert not faults(ptx)


@pytest.mark.parametrize(
    "old, new, options, fault",
    [
        ("sqrt(gain * above + dark)", "sqrt(fma(gain, above, dark))", (), "fused multiply-add"),
        ("", "", ("--fmad=true",), "fused multiply-add"),
        ("const f64 value = widened(", "const f64 value = (f64)(", (), "flush of subnormal"),
        (
            "return mean + (i32)(((i64)((now << 7) - mean) * rate + 64) >> 7);",
            "return mean + (i32)(1.0f / (f32)(now - mean) * rate);",
            ("--use_fast_math",),
            "approximate operation",
        ),
        (
            "out[i] = on_grid ? (i32)k : 0;",
            "{ i32 t[64]; for (u32 j = 0; j < 64; ++j) t[j] = (i32)(j * i); out[i] = t[(u32)k % 64]; }",
            (),
            "local memory",
        ),
    ],
)
def test_the_check_sees(old: str, new: str, options: tuple[str, ...], fault: str) -> None:
    assert old in SOURCE, "the source no longer has the line that this test replaces"
    text = SOURCE.replace(old, new, 1)
    kept = tuple(option for option in product_options() if not (options and option == "--fmad=false"))
    result = faults(compiled("compute_80", (*kept, *options), text)[0])
    assert any(entry.startswith(fault) for entry in result), result


def test_lookups_move_16_bytes_at_a_time() -> None:
    ptx = ptx_of("80")
    body = ptx[ptx.index(".entry lookup_u16_u8") :]
    body = body[: body.index("\n}")]
    assert body.count("ld.global.nc.v4.u32") == 2 and body.count("st.global.v4.u32") == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_registers_are_bounded_and_nothing_spills(
    architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, log, binary = compiled(f"sm_{architecture}", (*product_options(), "--ptxas-options=-v"))
    names = re.findall(r"Compiling entry function '(\w+)'", log)
    registers = [int(n) for n in re.findall(r"Used (\d+) registers", log)]
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
    shared = [int(n) for n in re.findall(r"(\d+) bytes smem", log)]
    assert len(names) == len(registers) == len(spills) == len(host_module(SOURCE, "").names) and binary
    most = max(zip(registers, names, strict=True))
    with capsys.disabled():
        print(
            f" sm_{architecture}: {len(names)} kernels, {min(registers)} to {most[0]} registers ({most[1]}), "
            f"spills {sum(int(s[1]) for s in spills)} bytes, shared {max(shared)} bytes",
            end="",
        )
    assert most[0] <= MOST_REGISTERS and max(shared) <= 48 << 10
    assert set(spills) == {("0", "0", "0")}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
@pytest.mark.parametrize("architecture", ["75", "120"])
def test_nvcc_compiles_it_too(architecture: str, tmp_path: Path) -> None:
    (tmp_path / "quantize.cu").write_text(SOURCE)
    run = subprocess.run(
        [
            "nvcc",
            "-cubin",
            "-std=c++17",
            "--fmad=false",
            "-ftz=true",
            f"-arch=sm_{architecture}",
            "-Werror",
            "all-warnings",
            "-o",
            str(tmp_path / "quantize.cubin"),
            str(tmp_path / "quantize.cu"),
        ],
        capture_output=True,
        text=True,
        env={**__import__("os").environ, "TMPDIR": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    if shutil.which("nvdisasm") is None:
        return
    sass = subprocess.run(
        ["nvdisasm", "-c", str(tmp_path / "quantize.cubin")], capture_output=True, text=True, check=True
    )
    assert not re.search(r"\b(STL|LDL)\b", sass.stdout), "the machine code uses local memory"
