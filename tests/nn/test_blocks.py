import pytest
import torch
import torch.nn.functional as F

from apollo.nn.blocks import BandAttention, TemporalConvolution, rms_norm, rotary_table, rotate


def test_rms_norm_is_pytorch_s_with_its_gradient() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 7, 5, 16, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(16, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(rms_norm(x, weight), F.rms_norm(x, (16,), weight, 1e-5))
    assert torch.autograd.gradcheck(rms_norm, (x, weight))


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_convolution_is_a_dilated_depthwise_one(dilation: int) -> None:
    torch.manual_seed(0)
    block = TemporalConvolution(16, 2, 5, dilation).double()
    x = torch.randn(2, 11, 6, 16, dtype=torch.float64)
    expected = F.conv2d(
        x.permute(0, 3, 1, 2),
        block.depthwise.weight,
        block.depthwise.bias,
        padding=(2 * dilation, 0),
        dilation=(dilation, 1),
        groups=16,
    )
    torch.testing.assert_close(block.convolve(x), expected.permute(0, 2, 3, 1))
    torch.testing.assert_close(block.convolve_by_taps(x), expected.permute(0, 2, 3, 1))


def test_attention_is_pytorch_s() -> None:
    torch.manual_seed(0)
    block = BandAttention(32, heads=4).double()
    qkv = torch.randn(2, 3, 10, 96, dtype=torch.float64)
    query, key, value = qkv.view(6, 10, 4, 24).chunk(3, dim=-1)
    cosine, sine = (table.double() for table in rotary_table(10, 8))
    query, key = (rotate(x[:, :, :, None], cosine, sine)[:, :, :, 0] for x in (query, key))
    expected = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)))
    torch.testing.assert_close(block.attend(qkv), expected.transpose(1, 2).reshape(2, 3, 10, 32), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("complex_numbers", [True, False], ids=["complex", "real"])
def test_rotation_makes_scores_depend_on_distance_only(complex_numbers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: not complex_numbers)
    torch.manual_seed(0)
    cosine, sine = (table.double() for table in rotary_table(100, 8))
    query, key = torch.randn(2, 8, dtype=torch.float64)
    turned = [rotate(x.expand(1, 100, 1, 1, 8), cosine, sine)[0, :, 0, 0] for x in (query, key)]
    scores = turned[0] @ turned[1].T
    torch.testing.assert_close(scores[10, 13], scores[80, 83], atol=1e-5, rtol=0)
    assert abs(scores[10, 13] - scores[10, 20]) > 1e-3
