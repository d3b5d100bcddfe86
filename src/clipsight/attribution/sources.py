"""Papers and programs that the attributions come from."""

from clipsight.features import Citation

CAE = Citation(
    title="Interpretable Composition Attribution Enhancement for Visio-linguistic Compositional Understanding",
    arxiv="",
    venue="EMNLP 2024, 2024.emnlp-main.810",
    repository="no training code is public; weights: huggingface hiker-lw/CLIP-CAE",
    commit="",
)
ROLLOUT = Citation(
    title="Quantifying Attention Flow in Transformers",
    arxiv="2005.00928",
    venue="ACL 2020",
    repository="Cyang-Zhao/Grad-Eclip (its copy, `compute_rollout_attention`)",
    commit="5c1b5cc",
)
GRAD_CAM = Citation(
    title="Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    arxiv="1610.02391",
    venue="ICCV 2017",
    repository="jacobgil/pytorch-grad-cam",
    commit="084273b",
)
INTEGRATED_GRADIENTS = Citation(
    title="Axiomatic Attribution for Deep Networks",
    arxiv="1703.01365",
    venue="ICML 2017",
    repository="meta-pytorch/captum",
    commit="release 0.9.0",
)
CHEFER = Citation(
    title="Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers",
    arxiv="2103.15679",
    venue="ICCV 2021",
    repository="hila-chefer/Transformer-MM-Explainability",
    commit="58eaea8",
)
GRAD_ECLIP = Citation(
    title="Grad-ECLIP: Gradient-based Visual and Textual Explanations for CLIP",
    arxiv="2502.18816",
    venue="ICML 2024",
    repository="Cyang-Zhao/Grad-Eclip",
    commit="5c1b5cc",
)
LEGRAD = Citation(
    title="LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity",
    arxiv="2404.03214",
    venue="",
    repository="WalBouss/LeGrad",
    commit="a9edb03",
)
SHAP = Citation(
    title="A Unified Approach to Interpreting Model Predictions",
    arxiv="1705.07874",
    venue="NeurIPS 2017",
    repository="",
    commit="",
)
EXACT = Citation(
    title="The exact map, for tokens and patches together",
    arxiv="",
    venue="clipsight's own derivation",
    repository="",
    commit="",
)
DIRECT_EFFECTS = Citation(
    title="Interpreting CLIP's Image Representation via Text-Based Decomposition",
    arxiv="2310.05916",
    venue="ICLR 2024",
    repository="",
    commit="",
)
OCCLUSION = Citation(
    title="Visualizing and Understanding Convolutional Networks",
    arxiv="1311.2901",
    venue="ECCV 2014",
    repository="meta-pytorch/captum",
    commit="release 0.9.0",
)
RISE = Citation(
    title="RISE: Randomized Input Sampling for Explanation of Black-box Models",
    arxiv="1806.07421",
    venue="BMVC 2018",
    repository="",
    commit="",
)
