"""Telling a model's refusal from a description, and from what stickers say."""

import json

import pytest

from mghft.pipeline.refusals import is_refusal
from mghft.pipeline.views import VIEWS, ViewError, check_view, parse_view, parse_views


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, I can't assist with that request.",
        "I’m sorry, but I can’t help with that.",
        "I'm sorry, but I cannot provide a description of this image.",
        "Sorry, I can't help with identifying people in pictures.",
        "I cannot describe this image.",
        "I'm unable to view images directly.",
        "I am not able to process this request.",
        "As an AI language model, I cannot see images.",
        "Unfortunately, I'm not able to identify the person in the photo.",
        "I apologize, but I will not describe content of this kind.",
        "I must decline to describe this image.",
        "I won't provide a caption for this meme.",
        "My apologies, but I'm not comfortable describing this image.",
        "I'm really sorry, but I am unfortunately unable to comply with that.",
        "**I can't continue with this request.**",
        "The request was rejected because it was considered high risk",
        "Your content was flagged by our moderation.",
        "It seems that no image was attached. Please upload it.",
        "I don't see any image in your message.",
        "抱歉，我无法协助处理该请求。",
        "很抱歉，我不能描述这张图片。",
        "作为一个人工智能语言模型，我不能查看图片。",
        "你好，这个问题我暂时无法回答，让我们换个话题再聊聊吧。",
        "申し訳ありませんが、そのご要望にはお応えできません。",
        "죄송하지만 해당 요청에는 도움을 드릴 수 없습니다.",
        "Lo siento, pero no puedo ayudar con eso.",
        "Je suis désolé, mais je ne peux pas décrire cette image.",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Desculpe, não posso fornecer ajuda com essa solicitação",
        "Mi dispiace, ma non posso aiutarti con questa richiesta.",
        "К сожалению, я не могу помочь с этим запросом.",
    ],
)
def test_a_refusal_is_told(text):
    assert is_refusal(text)
    with pytest.raises(ViewError, match="the model refused: "):
        check_view("style", text)
    # In place of JSON, inside it, and to a question for one view.
    for answer in (
        text,
        json.dumps({**dict.fromkeys(VIEWS, "a cat"), "intention": text}),
        json.dumps({"error": text}),
    ):
        with pytest.raises(ViewError, match="the model refused: "):
            parse_views(answer, "stop")
    with pytest.raises(ViewError, match="the model refused: "):
        parse_view(text, "stop", "details")


@pytest.mark.parametrize(
    "text",
    [
        "A cat says \"I'm sorry, I can't help with that request.\"",
        '"I can\'t assist with that," says the robot.',
        "I'm sorry, I can't come to the party tonight.",
        "Sorry, I can't answer right now, I am asleep.",
        "I can't help laughing at this.",
        "I cannot believe it!",
        "I can't see anything with these glasses.",
        "I can't do this any more",
        "I am not able to stop smiling",
        "The sender apologizes: sorry, I can't make it.",
        "Sorry!",
        "To say no politely; the sender cannot help with the request.",
        "An apology: the character bows and asks for help with a task.",
        "The sticker was blocked by a hand.",
        "This image shows a blocked road.",
        "No image of a cat is without whiskers.",
        "Please share your lunch with me",
        "As an assistant, the robot carries books.",
        "Unfortunately the cat fell off the chair in this picture.",
        "抱歉，我不能来参加聚会。",
        "对不起，我来晚了。",
        "我无法忍受",
    ],
)
def test_what_a_sticker_says_is_no_refusal(text):
    assert not is_refusal(text)
    assert check_view("intention", text) == text


def test_a_long_refusal_is_shortened():
    with pytest.raises(ViewError) as error:
        check_view("style", f"I cannot describe this image. {'It is against the rules. ' * 30}")
    assert len(str(error.value)) == len("the model refused: ") + 120


def test_an_echo_of_the_schema_is_named():
    with pytest.raises(ViewError, match="repeats the JSON schema"):
        parse_views('{"type": "object", "properties": {"content": {"type": "string"}}}', "stop")
