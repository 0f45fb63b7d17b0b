"""Make the face models of `eggan/faces/` out of the npm package that distributes them, as ONNX.

    npm pack @mediapipe/face_mesh@0.4.1657299874
    pip install onnx==1.23.2 tflite==2.18.0 ai-edge-litert==2.3.0
    python -m tests.faces.convert_models mediapipe-face_mesh-0.4.1657299874.tgz

The weights stay the half floats that they are in the original; only the layout of the graph is ONNX's
(channels first inside; batch and, for the detector, height and width are free). What both runtimes compute of
the same inputs is compared, and kept in `golden.npz` for installations without ai-edge-litert.
"""

import hashlib
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

from tests.faces.golden import GOLDEN, SIDES, deviation, inputs_of

PACKAGE = "@mediapipe/face_mesh 0.4.1657299874 (npm)"
ASSETS = "package/face_mesh_solution_packed_assets.data"
BYTES = {"face_detection_short_range": (3757224, 3986256), "face_landmark": (2495952, 3737848)}
FREE_SIZE = {"face_detection_short_range"}
FOLDER = Path(__file__).resolve().parents[2] / "eggan" / "faces"
OPSET, IR_VERSION = 20, 10
TOLERANCE = 1e-4
CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
BUILTIN = {code: name for name, code in vars(tflite.BuiltinOperator).items()}


def originals(archive: Path) -> dict[str, bytes]:
    """Return both .tflite files by name, cut out of the package's archive."""
    with tarfile.open(archive) as package:
        member = package.extractfile(ASSETS)
        assert member is not None
        assets = member.read()
    return {name: assets[begin:end] for name, (begin, end) in BYTES.items()}


class Original:
    """Reads a .tflite file: operators in order, tensors by number."""

    def __init__(self, content: bytes) -> None:
        self.model = tflite.Model.GetRootAsModel(content, 0)
        self.graph = self.model.Subgraphs(0)
        self.inputs = [int(i) for i in self.graph.InputsAsNumpy()]
        self.outputs = [int(i) for i in self.graph.OutputsAsNumpy()]

    def name(self, tensor: int) -> str:
        return str(self.graph.Tensors(tensor).Name().decode())

    def shape(self, tensor: int) -> list[int]:
        return [int(length) for length in self.graph.Tensors(tensor).ShapeAsNumpy()]

    def value(self, tensor: int) -> np.ndarray:
        """Return a constant."""
        found = self.graph.Tensors(tensor)
        kind = {0: np.float32, 1: np.float16, 2: np.int32}[found.Type()]
        data = self.model.Buffers(found.Buffer()).DataAsNumpy()
        return np.frombuffer(data.tobytes(), kind).reshape(self.shape(tensor))

    def operators(self):
        """Yield kind, inputs, output and options of each operator."""
        for number in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(number)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            kind = BUILTIN[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            tensors = [int(i) for i in operator.InputsAsNumpy()]
            yield kind, tensors, int(operator.OutputsAsNumpy()[0]), operator.BuiltinOptions()


class Converter:
    """Writes the ONNX graph, each activation under the name that it has in the original."""

    def __init__(self, original: Original) -> None:
        self.original = original
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.halves: dict[int, int] = {}  # float32 tensor -> the half floats that it is made of

    def node(self, operator: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def weights(self, tensor: int, layout: list[int] | None = None) -> str:
        """Add half floats and their cast to float32; return the name of the cast."""
        source = self.halves[tensor]
        value, name = self.original.value(source), self.original.name(source)
        half = self.constant(f"{name}:half", value if layout is None else value.transpose(layout))
        return self.node("Cast", [half], f"{name}:float", to=TensorProto.FLOAT)

    def convert(self) -> None:
        for kind, tensors, output, options in self.original.operators():
            getattr(self, kind.lower())(tensors, output, options)

    def dequantize(self, tensors, output, _) -> None:
        self.halves[output] = tensors[0]

    def conv_2d(self, tensors, output, options) -> None:
        self._convolve(tensors, output, read(tflite.Conv2DOptions, options), [0, 3, 1, 2], 1)

    def depthwise_conv_2d(self, tensors, output, options) -> None:
        chosen = read(tflite.DepthwiseConv2DOptions, options)
        assert chosen.DepthMultiplier() == 1
        self._convolve(tensors, output, chosen, [3, 0, 1, 2], self.original.shape(tensors[0])[3])

    def _convolve(self, tensors, output, options, layout, groups) -> None:
        assert options.DilationHFactor() == options.DilationWFactor() == 1
        kernel = self.original.shape(tensors[1])[1:3]
        strides = [options.StrideH(), options.StrideW()]
        names = [self.name(tensors[0]), self.weights(tensors[1], layout), self.weights(tensors[2])]
        pads = self._pads(tensors[0], kernel, strides, options.Padding())
        more = {"kernel_shape": kernel, "strides": strides, "pads": pads, "group": groups}
        self._activated("Conv", names, output, options.FusedActivationFunction(), **more)

    def max_pool_2d(self, tensors, output, options) -> None:
        chosen = read(tflite.Pool2DOptions, options)
        kernel, strides = (
            [chosen.FilterHeight(), chosen.FilterWidth()],
            [chosen.StrideH(), chosen.StrideW()],
        )
        pads = self._pads(tensors[0], kernel, strides, chosen.Padding())
        more = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        fused = chosen.FusedActivationFunction()
        self._activated("MaxPool", [self.name(tensors[0])], output, fused, **more)

    def _pads(self, tensor, kernel, strides, padding) -> list[int]:
        """Return the padding, first all beginnings, then all ends: of SAME the smaller half comes first."""
        sizes = self.original.shape(tensor)[1:3]
        if padding == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        whole = [
            max((-(-size // stride) - 1) * stride + width - size, 0)
            for size, width, stride in zip(sizes, kernel, strides, strict=True)
        ]
        return [total // 2 for total in whole] + [total - total // 2 for total in whole]

    def _activated(self, operator, names, output, fused, **more) -> None:
        name = self.name(output)
        if fused == tflite.ActivationFunctionType.NONE:
            self.node(operator, names, name, **more)
        else:
            assert fused == tflite.ActivationFunctionType.RELU
            self.node("Relu", [self.node(operator, names, f"{name}:linear", **more)], name)

    def relu(self, tensors, output, _) -> None:
        self.node("Relu", [self.name(tensors[0])], self.name(output))

    def prelu(self, tensors, output, _) -> None:
        self.node("PRelu", [self.name(tensors[0]), self.weights(tensors[1], [2, 0, 1])], self.name(output))

    def add(self, tensors, output, options) -> None:
        fused = read(tflite.AddOptions, options).FusedActivationFunction()
        self._activated("Add", [self.name(tensor) for tensor in tensors], output, fused)

    def pad(self, tensors, output, _) -> None:
        pads = self.original.value(tensors[1])[CHANNELS_FIRST]
        name = self.name(output)
        amounts = self.constant(f"{name}:pads", pads.T.reshape(-1).astype(np.int64))
        self.node("Pad", [self.name(tensors[0]), amounts], name)

    def reshape(self, tensors, output, _) -> None:
        """Flatten (B, H, W, A * C) into (B, H * W * A, C)."""
        name, columns = self.name(output), self.original.shape(output)[-1]
        last = self.node("Transpose", [self.name(tensors[0])], f"{name}:last", perm=CHANNELS_LAST)
        shape = self.constant(f"{name}:shape", np.array([0, -1, columns], np.int64))
        self.node("Reshape", [last, shape], name)

    def concatenation(self, tensors, output, options) -> None:
        assert read(tflite.ConcatenationOptions, options).Axis() == 1
        self.node("Concat", [self.name(tensor) for tensor in tensors], self.name(output), axis=1)

    def name(self, tensor: int) -> str:
        return self.original.name(tensor)


def read(kind, table):
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return options


def convert(content: bytes, name: str) -> onnx.ModelProto:
    """Return the ONNX model of a .tflite file: same input (B, H, W, 3), same outputs but for unit axes."""
    original = Original(content)
    converter = Converter(original)
    (source,) = original.inputs
    given = original.name(source)
    converter.node("Transpose", ["picture"], given, perm=CHANNELS_FIRST)
    converter.convert()
    outputs = [_output(converter, tensor) for tensor in original.outputs]
    size = ["height", "width"] if name in FREE_SIZE else [SIDES[name]] * 2
    graph = helper.make_graph(
        converter.nodes,
        name,
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["batch", *size, 3])],
        outputs,
        [numpy_helper.from_array(value, key) for key, value in converter.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _output(converter: Converter, tensor: int) -> onnx.ValueInfoProto:
    """Declare an output; one of a single place (B, C, 1, 1) becomes (B, C)."""
    name, shape = converter.name(tensor), converter.original.shape(tensor)
    if len(shape) == 4:
        assert shape[1:3] == [1, 1]
        name, shape = converter.node("Flatten", [name], f"{name}:flat", axis=1), [1, shape[3]]
    rows = ["anchors"] if len(shape) == 3 else []
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *rows, shape[-1]])


def run_original(content: bytes, pictures: np.ndarray) -> list[np.ndarray]:
    """Return what ai-edge-litert computes of each picture (B, S, S, 3), stacked, in the file's order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    places = [detail["index"] for detail in interpreter.get_output_details()]
    rows = []
    for picture in pictures:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
        interpreter.invoke()
        rows.append([interpreter.get_tensor(place).copy() for place in places])
    return [np.concatenate(column).squeeze() for column in zip(*rows, strict=True)]


def main(archive: Path) -> None:
    """Convert, compare, and write the models, their card and the golden values."""
    card = {"package": PACKAGE, "file": ASSETS, "licence": "Apache-2.0", "models": {}}
    golden = {}
    for name, content in originals(archive).items():
        path = FOLDER / f"{name}.onnx"
        path.write_bytes(convert(content, name).SerializeToString())
        expected = run_original(content, inputs_of(name))
        worst = deviation(name, path, expected)
        assert worst < TOLERANCE, (name, worst)
        golden |= {f"{name}:{number}": value for number, value in enumerate(expected)}
        begin, end = BYTES[name]
        card["models"][name] = {
            "bytes": [begin, end],
            "original_sha256": hashlib.sha256(content).hexdigest(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "largest_deviation": float(f"{worst:.2g}"),
        }
    np.savez_compressed(GOLDEN, **golden)
    text = json.dumps(card, indent=2) + "\n"
    (FOLDER / "models.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
