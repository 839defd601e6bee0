"""What people and models write is shown whole and can do nothing: held by parsing the result with another parser."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.web.formulas import LONGEST_FORMULA
from heed.web.markup import LONGEST_RENDERED, plain, render

PICTURE = "0123456789abcdef0123456789abcdef.png"
VIDEO = "0123456789abcdef0123456789abcdef.webm"

HTML = "p br hr h2 h3 h4 h5 h6 strong em s code pre blockquote ul ol li table thead tbody tr th td a img video div span"
MATHML = (
    "math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd mstyle "
    "menclose mpadded mphantom mmultiscripts mprescripts none"
)
KNOWN_TAGS = {*HTML.split(), *MATHML.split()}
PLAIN_ATTRIBUTES = "dir class title alt loading controls preload aria-label start tabindex target rel"
TYPESETTING = (
    "display mathvariant stretchy fence separator form accent accentunder movablelimits largeop symmetric lspace rspace "
    "minsize maxsize columnalign columnspacing rowspacing columnlines rowlines displaystyle scriptlevel linethickness "
    "width height depth voffset notation"
)
KNOWN_ATTRIBUTES = {*PLAIN_ATTRIBUTES.split(), *TYPESETTING.split()}


class Reader(HTMLParser):
    """Notes everything that is not known to be harmless, and what can be read."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.shown: list[str] = []
        self.attributes: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in KNOWN_TAGS:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
                if not re.match(r"(https?://|mailto:)", value or "", re.IGNORECASE):
                    self.faults.append(f"href {value}")
                if dict(attrs).get("rel") != "noopener noreferrer nofollow" or dict(attrs).get("target") != "_blank":
                    self.faults.append("a link that tells where it came from")
            elif name == "src" and tag in ("img", "video"):
                if not re.fullmatch(r"/media/[0-9a-f]{32}\.\w+", value or ""):
                    self.faults.append(f"src {value}")
            elif name not in KNOWN_ATTRIBUTES:
                self.faults.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.shown.append(data)

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}")


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<math><annotation-xml encoding='text/html'><script>alert(1)</script></annotation-xml></math>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<form action='https://evil.example'><button formaction='javascript:alert(1)'>x</button></form>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<style>*{display:none}</style>",
    "<div style='position:fixed;inset:0'>covers the page</div>",
    "<!-- comment --><![CDATA[ x ]]><?php ?>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](\x01javascript:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](vbscript:x)",
    "[a](//evil.example)",
    "[a](/board)",
    "[a](file:///etc/passwd)",
    "[a](media:../../etc/passwd)",
    '[a](https://x.example/"onmouseover="alert(1))',
    '[a](<https://x.example/" onmouseover=alert(1) x=">)',
    "<javascript:alert(1)>",
    "<https://x.example/<script>>",
    "![a](javascript:alert(1))",
    "![a](data:image/svg+xml,<svg onload=alert(1)>)",
    "![a](https://evil.example/track.png)",
    "![a](media:x.png)",
    f"![a](media:{PICTURE}/../../../etc/passwd)",
    f'![" onerror=alert(1) x="](media:{PICTURE})',
    f'!["><script>alert(1)</script>](media:{VIDEO})',
    f'![a](media:{PICTURE} "\\" onload=alert(1)")',
    "[![a](https://evil.example/x.png)](javascript:alert(1))",
    '[a](https://x.example "\\"><script>alert(1)</script>")',
    '```"><script>alert(1)</script>\nx\n```',
    "```html\n<script>alert(1)</script>\n</code></pre><script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    r"$\text{<img src=x onerror=alert(1)>}$",
    r"$\text{<img/src=x/onerror=alert(1)>}$",
    r"$\text{&lt;script&gt;alert(1)&lt;/script&gt;}$",
    r"$\text{&amp;lt;script&amp;gt;}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\style{position:fixed}{x}$",
    r"$\class{x}{y}$ $\cssId{a}{b}$ $\unicode{x3c}$",
    r"$\color{red;position:fixed}{x}$",
    r"$\rule{9999em}{9999em}$ $\hspace{99999em}$ $\kern999em$",
    r"$\def\x{\x\x}\x$ $\newcommand{\a}{\a\a}\a$",
    r"$</math><script>alert(1)</script>$",
    r"$</annotation-xml><script>$",
    "| <script> | [a](javascript:x) |\n|---|---|\n| <img onerror=x> | ![a](https://x.example/a.gif) |",
    "- [x] <script>alert(1)</script>",
    "# <script>alert(1)</script>\n=====",
    "[a]: javascript:alert(1)\n\n[a]",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\u202eexe.txt\u202c \u2066hidden\u2069",
    "\x00<scr\x00ipt>",
    "\ud800 lone surrogate <script>",
    "\ud800 lone surrogate <script>",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(
    "around", ["{}", "> - {}", "**{}**", "text\n\n{}\n\n`code`"], ids=["", "nested", "bold", "among"]
)
def test_nothing_that_is_written_becomes_more_than_text(attack: str, around: str) -> None:
    assert read(render(around.replace("{}", attack))).faults == []
    assert read(plain(attack)).faults == []
    assert set(read(plain(attack)).tags) <= {"div"}


PIECES = st.sampled_from(
    [*ATTACKS, "<", ">", '"', "'", "&", "$", "$$", "\\(", "\\)", "\\[", "\n", "\n\n", "    ", "> ", "- ", "1. ", "|", "|-|",
     "```", "`", "**", "_", "~~", "[", "](", ")", "![", "]", "#", "\\", "{", "}", "^", "\\frac", "\\text{", "\\begin{align}",
     "\\end{align}", "\\left(", "\\sqrt", "&amp;", "&#x3c;", "media:", "javascript:", "https://a.example", "a", "é", "中", "ע", "\u202e", "🎉"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join))
def test_no_mixture_of_pieces_becomes_more_than_text(text: str) -> None:
    assert read(render(text)).faults == []


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Cf")), max_size=200))
def test_a_plain_text_is_shown_as_it_stands(text: str) -> None:
    assert "".join(read(plain(text)).shown) == text


def test_direction_signs_are_shown_instead_of_obeyed() -> None:
    for made in (render("a\u202eb \u2066c"), plain("a\u202eb \u2066c")):
        assert "\u202e" not in made
        assert "\u2066" not in made
        assert "a[U+202E]b [U+2066]c" in "".join(read(made).shown)


def test_each_block_finds_its_own_direction() -> None:
    made = render("hello\n\nשלום\n\n- مرحبا\n\n> שלום\n\n# שלום\n\n|א|\n|-|\n|ב|")
    reader = read(made)
    for tag in ("p", "li", "blockquote", "h3", "th", "td"):
        assert all(a.get("dir") == "auto" for t, a in zip(reader.tags, reader.attributes, strict=True) if t == tag), tag


def test_program_code_reads_from_left_to_right_and_keeps_every_character() -> None:
    code = "def f(x):  # شرح\n\treturn '<b>' + x\n\n\nf(1)\n"
    for language in ("python", "", "no-such-language", "html"):
        reader = read(render(f"```{language}\n{code}```"))
        assert "".join(reader.shown).strip("\n") == code.strip("\n")
        assert {"dir": "ltr", "tabindex": "0"} in reader.attributes
    assert 'class="code-keyword">def<' in render(f"```python\n{code}```")


def test_headings_fit_into_the_page_around_them() -> None:
    tags = read(render("### third\n\n# first\n\n### below\n\n###### deep\n\n## second", heading=3)).tags
    assert [tag for tag in tags if tag.startswith("h")] == ["h3", "h3", "h4", "h5", "h4"]


def test_markdown_of_models_is_rendered() -> None:
    made = render("**bold** ~~gone~~ `code`\nnext line\n\n1. one\n\n|a|b|\n|:-|-:|\n|1|2|\n\n- [ ] open\n- [x] done")
    tags = read(made).tags
    assert {"strong", "s", "code", "br", "ol", "li", "table", "th", "td"} <= set(tags)
    assert 'class="right"' in made
    assert "☐ open" in made
    assert "☑ done" in made


def test_references_and_html_are_shown_and_never_hidden() -> None:
    shown = "".join(
        read(render("[1]: https://a.example 'hidden words'\n\n<!-- hidden too -->\n\n[//]: # (and this)")).shown
    )
    for words in ("hidden words", "hidden too", "and this"):
        assert words in shown


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10.",
        "From $5 to $10, or $20/month",
        "$5-$10",
        "US$30 and A$ 40",
        "I have $5 and you have 7$ left",
        r"\$a\$",
        "a $ b $ c",
        "$$",
        "$",
        "echo $HOME and $PATH",
        "`$a$`",
    ],
)
def test_prices_stay_text(text: str) -> None:
    reader = read(render(text))
    assert "math" not in reader.tags
    assert "".join(reader.shown).strip() == text.replace("\\$", "$").replace("`", "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"$\alpha$", "α"),
        ("$x$", "x"),
        ("$2^n$", "2n"),
        (r"\(a+b\)", "a+b"),
        ("so $a=b$, and", "a=b"),
        ("$$a$$", "a"),
        ("\\[\na\n\\]", "a"),
        ("in one line $$a$$ here", "a"),
        ("\\begin{align}\na\\\\b\n\\end{align}", "b"),
        ("> $$\n> a\n> $$", "a"),
        ("- item\n  $$\n  a\n  $$", "a"),
    ],
)
def test_formulas_become_mathml(text: str, shown: str) -> None:
    made = render(text)
    assert "math" in read(made).tags
    assert "$" not in made
    assert shown in "".join(read(made[made.index("<math") : made.index("</math>")]).shown)


def test_displayed_formulas_stand_alone() -> None:
    for text in ("$$a$$", "\\[a\\]", "x $$a$$ y", "x \\[a\\] y"):
        assert '<math display="block">' in render(text), text
    assert '<math display="inline">' in render("$a$")


@pytest.mark.parametrize(
    "text",
    [
        "$\\left( a$",
        "$\\end{x}$",
        "$a_b_c$",
        "$\\def\\x{1}\\x$",
        "$" + "a" * (LONGEST_FORMULA - 100) + "\\frac$",
    ],
)
def test_what_cannot_be_read_as_a_formula_is_shown_as_it_was_written(text: str) -> None:
    made = render(text)
    assert "math" not in read(made).tags
    assert "".join(read(made).shown).strip() == text


def test_own_media_are_shown_and_those_of_others_become_links() -> None:
    made = render(f"![a cat](media:{PICTURE}) ![clip](media:{VIDEO}) ![far](https://other.example/x.png)")
    reader = read(made)
    assert {"src": f"/media/{PICTURE}", "alt": "a cat", "loading": "lazy"} in reader.attributes
    assert f'src="/media/{VIDEO}"' in made
    assert "controls" in made
    assert reader.links == ["https://other.example/x.png"]
    assert reader.tags.count("img") == 1
    assert "far" in reader.shown


def test_a_very_long_text_is_shown_whole_with_a_note() -> None:
    text = "**word** <b>&\n" * (1_000_000 // 14)
    made = render(text, note="Too long to be rendered.")
    assert "strong" not in read(made).tags
    below = '</div><p class="help">Too long to be rendered.</p>'
    assert made.endswith(below)
    assert unescape(made[made.index('dir="auto">') + 11 : -len(below)]) == text
    assert "<strong>" in render("**word** " * ((LONGEST_RENDERED - 1) // 9))


def test_a_text_nested_too_deep_is_shown_whole() -> None:
    quoted = "> " * 300 + "the end"
    listed = "".join("  " * depth + f"- level {depth}\n" for depth in range(150))
    assert "the end" in "".join(read(render(quoted)).shown)
    assert "level 149" in "".join(read(render(listed)).shown)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    ["[", "[a](", "![", "*a ", "**a*_", "`", "` `` ```", "<", "> ", "$", "$a ", "$a\\$", "\\(", "\\[\n", "$$\n",
     "\\begin{align}\n", "|", "|a|\n|-|\n|", "- ", "~~a", "&#", "[a]: b\n", "```\n", "$\\frac{{{{$ ", "$a_{a_{a_{$", "\\",
     "\x01", "\u202e", "- [ ] a\n", "***", "_a", "1. a\n", "a\n=\n", "# a\n"],
)  # fmt: skip
def test_no_repetition_takes_for_ever(piece: str) -> None:
    text = piece * (LONGEST_RENDERED // len(piece))
    assert read(render(text)).faults == []


def test_many_threads_get_what_one_gets() -> None:
    texts = [f"# {n}\n\n$x_{n}$ **b** `c`\n\n```python\nx = {n}\n```\n\n|a|\n|-|\n|{n}|" for n in range(60)]
    alone = [render(text) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(render, texts)) == alone


@pytest.mark.parametrize("run", ["![", "[", "[![", "![a "])
def test_runs_of_brackets_that_would_hold_up_everybody_are_shown_as_they_stand(run: str) -> None:
    text = (run * LONGEST_RENDERED)[:39_990]
    assert render(text) == plain(text)


def test_brackets_as_people_write_them_are_rendered() -> None:
    text = "see [this](https://a.example) and ![that](https://b.example), x[0]\n\n" * 200
    assert render(text).count("<a ") == 400


@pytest.mark.parametrize("language", ["java", "c#", "makefile"])
def test_languages_whose_lexers_are_slow_have_one_colour(language: str) -> None:
    assert "<span" not in render(f"```{language}\npublic class A {{ return 1; }}\n```")


def test_only_so_much_code_of_a_text_is_in_colours() -> None:
    block = "```python\n" + "x = 1\n" * 800 + "```\n\n"
    coloured = ["<span" in part for part in str(render(block * 5)).split("</pre>")[:-1]]
    assert coloured == [True, True, True, False, False]
    assert "<span" not in render("```python\n" + "x = 1\n" * 1000 + "```")
