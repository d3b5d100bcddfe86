"""Small random transformers models and tokenizers for tests, on transformers 4 and 5."""

import io
import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import nn

from tiny import tiny_clip

WIDTHS = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2}
VISION = {**WIDTHS, "num_hidden_layers": 6, "patch_size": 16, "image_size": 64}
END = 49_407
SENTENCES = (
    "a photo of a dog",
    "a red car left of a small white dog",
    "two cats sit on a mat",
    "an old clock behind the house",
    "the quick brown fox jumps over the lazy dog",
    "many birds fly above the green hills in the evening",
    "people walk through the city, with umbrellas",
    "is this a question? yes; and an answer!",
)


def tiny_hf(kind: str, seed: int = 0, *, text: Any = None, attention: str = "sdpa", **vision: Any) -> Any:
    """A random model of kind "clip", "siglip" or "siglip2" in evaluation mode: grid 4 × 4, six image blocks.

    No parameter is left at a special value such as a zero bias or a unit norm weight, so that a forgotten one shows.
    """
    import transformers

    words = {**WIDTHS, "num_hidden_layers": 3, **(text or {})}
    few = {"vocab_size": 120, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "clip":
            words = {"vocab_size": 49_408, "max_position_embeddings": 77, "eos_token_id": END, **words}
            config = transformers.CLIPConfig(
                text_config=words, vision_config={**VISION, **vision}, projection_dim=32
            )
            module: Any = transformers.CLIPModel._from_config(config, attn_implementation=attention)
        elif kind == "siglip":
            config = transformers.SiglipConfig(
                text_config={**few, **words}, vision_config={**VISION, **vision}
            )
            module = transformers.SiglipModel._from_config(config, attn_implementation=attention)
        else:
            settings = {**VISION, "num_patches": 16, **vision}
            settings.pop("image_size")
            config = transformers.Siglip2Config(text_config={**few, **words}, vision_config=settings)
            module = transformers.Siglip2Model._from_config(config, attn_implementation=attention)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name == "vision_model.embeddings.position_embedding.weight":
                    parameter.normal_(std=0.5)
                elif parameter.ndim <= 1 and name != "logit_scale":
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def save(module: Any, folder: Path) -> Path:
    """The model as `save_pretrained` writes it, with a tokenizer and a picture processor of its kind beside it."""
    import transformers

    module.save_pretrained(folder)
    match type(module).__name__:
        case "CLIPModel":
            clip_tokenizer(folder)
            sides = {"height": 64, "width": 64}
            processor: Any = transformers.CLIPImageProcessor(
                size={"shortest_edge": 64}, crop_size=sides, image_mean=[0.4, 0.5, 0.6]
            )
        case "SiglipModel":
            pieces(folder)
            processor = transformers.SiglipImageProcessor(size={"height": 64, "width": 64})
        case _:
            gemma(folder)
            processor = transformers.Siglip2ImageProcessor()
    processor.save_pretrained(folder)
    return folder


def clip_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer as its repositories hold it, made of open_clip's vocabulary."""
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    own = open_clip.SimpleTokenizer()
    merges = sorted(own.bpe_ranks, key=own.bpe_ranks.__getitem__)
    vocabulary = {names.get(piece, piece): index for piece, index in own.encoder.items()}
    write_json(folder / "vocab.json", vocabulary)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            **marks,
            "unk_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>",
        },
    )
    write_json(folder / "special_tokens_map.json", marks)


def pieces(folder: Path) -> None:
    """A small SentencePiece model in the manner of SigLIP's: lower case, end token 1 behind and as padding."""
    import sentencepiece

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 4),
        model_writer=made,
        vocab_size=100,
        hard_vocab_limit=False,
        pad_id=-1,
        bos_id=-1,
        unk_id=2,
        eos_id=1,
        user_defined_symbols=["<pad0>"],
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(made.getvalue())
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "SiglipTokenizer",
            "model_max_length": 16,
            "model_input_names": ["input_ids"],
            "eos_token": "</s>",
            "pad_token": "</s>",
            "unk_token": "<unk>",
            "do_lower_case": True,
        },
    )


def gemma(folder: Path) -> None:
    """A small tokenizer in the manner of Gemma's, which SigLIP 2 has: no lower case of its own, padding 0, end 1."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    made = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trainer = BpeTrainer(vocab_size=110, special_tokens=marks, show_progress=False)
    made.train_from_iterator(SENTENCES * 4, trainer)
    made.post_processor = processors.TemplateProcessing(single="$A:0 <eos>:0", special_tokens=[("<eos>", 1)])
    made.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "GemmaTokenizer",
            "add_bos_token": False,
            "add_eos_token": True,
            "model_max_length": 16,
            "padding_side": "right",
            **{f"{mark[1:-1]}_token": mark for mark in marks},
        },
    )


def write_json(path: Path, content: object) -> None:
    """A JSON file."""
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def to_open_clip(module: nn.Module) -> open_clip.CLIP:
    """open_clip's model with the weights of a small `CLIPModel`."""
    model = tiny_clip(quick_gelu=True)
    state, renamed = dict(module.state_dict()), {}
    for side, prefix in (("vision_model", "visual."), ("text_model", "")):
        for index in range(len(module.get_submodule(f"{side}.encoder.layers"))):  # pyright: ignore[reportArgumentType]
            old, new = f"{side}.encoder.layers.{index}.", f"{prefix}transformer.resblocks.{index}."
            for part in ("weight", "bias"):
                letters = (state[f"{old}self_attn.{letter}_proj.{part}"] for letter in "qkv")
                renamed[f"{new}attn.in_proj_{part}"] = torch.cat(list(letters))
                for theirs, ours in (
                    ("self_attn.out_proj", "attn.out_proj"),
                    ("layer_norm1", "ln_1"),
                    ("layer_norm2", "ln_2"),
                    ("mlp.fc1", "mlp.c_fc"),
                    ("mlp.fc2", "mlp.c_proj"),
                ):
                    renamed[f"{new}{ours}.{part}"] = state[f"{old}{theirs}.{part}"]
    for part in ("weight", "bias"):
        renamed[f"visual.ln_pre.{part}"] = state[f"vision_model.pre_layrnorm.{part}"]
        renamed[f"visual.ln_post.{part}"] = state[f"vision_model.post_layernorm.{part}"]
        renamed[f"ln_final.{part}"] = state[f"text_model.final_layer_norm.{part}"]
    image, words = "vision_model.embeddings", "text_model.embeddings"
    renamed |= {
        "visual.class_embedding": state[f"{image}.class_embedding"],
        "visual.conv1.weight": state[f"{image}.patch_embedding.weight"],
        "visual.positional_embedding": state[f"{image}.position_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state[f"{words}.token_embedding.weight"],
        "positional_embedding": state[f"{words}.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
        "logit_scale": state["logit_scale"],
    }
    model.load_state_dict(renamed)
    return model
