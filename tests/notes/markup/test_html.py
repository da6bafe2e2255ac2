"""HTML as lines of text."""

import pytest

from sympress.notes.markup import read_view


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>No <b>fever</b>.</p><p>Cough &amp; wheezing</p>", "No fever.\n\nCough & wheezing"),
        ("Denies fever<br/>Cough present<BR>Rash", "Denies fever\nCough present\nRash"),
        ("<strong>Denies:</strong> fever<br><strong>Reports:</strong> rash", "Denies: fever\nReports: rash"),
        (
            "<h3>Family History</h3><p>Migraine</p><h3>HPI</h3><p>Rash</p>",
            "Family History\nMigraine\n\nHPI\nRash",
        ),
        ("<div>No\n  fever</div>\n<div>Rash</div>", "No fever\n\nRash"),
        ("<p>Denies:</p><ul><li>fever</li><li><p>cough</p></li></ul>", "Denies:\n• fever\n• cough"),
        ("<ul><li>fever<li>cough<ul><li>dry</ul></ul>Rash", "• fever\n• cough\n• dry\n\nRash"),
        ("<ol><li></li><li>fever</li></ol>", "• fever"),
        ("<dl><dt>Fever</dt><dd>No</dd><dt>Denies:<dd>rash</dl>", "Fever: No\nDenies: rash"),
        ("one<hr>two", "one\n\ntwo"),
        ("<p>a</p><br><br><p>b</p>", "a\n\nb"),
    ],
)
def test_blocks_and_breaks_end_lines(source: str, text: str) -> None:
    assert read_view(source).text == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<table><tr><td>Fever</td><td>No</td></tr><tr><td>Rash</td></tr></table>", "Fever\tNo\nRash"),
        ("<tr><td><p>Fever</p></td>\n<td><p>No</p></td></tr>", "Fever\tNo"),
        ("Fever<td>No<td>Cough", "Fever\tNo\tCough"),
        ("<table><tr><th>Sign<th>Yes<th>No<tr><td>Fever<td><td>X</table>", "Sign\tYes\tNo\nFever\t\tX"),
        ("<table><tr><td><p>No fever.</p><p>Cough.</p></td></tr></table>", "No fever.\n\nCough."),
        (
            "<table><tr><td><table><tr><td>Fever<td>No</tr></table></td><td>Rash</td></tr></table>",
            "Fever\tNo\nRash",
        ),
    ],
)
def test_a_row_is_a_line_and_a_tab_tells_its_cells_apart(source: str, text: str) -> None:
    assert read_view(source).text == text


@pytest.mark.parametrize(
    "source",
    [
        "<div class='fever' title=\"cough > rash\">ok</div>",
        "<p>ok<!-- no fever --></p>",
        "<!DOCTYPE html><html><head><title>fever</title><style>p{}</style></head><body>ok</body></html>",
        "<script>if (fever < 3) { cough }</script><p>ok</p>",
        "<p><s>fever</s>ok<del>cough</del></p>",
        "<p>ok<span style='display: none'>fever <span>x</span> cough</span></p>",
        "<p>ok</p><p hidden>fever</p>",
        "<p>ok</p><!-- fever",
        "<p>ok</p><p class='fev",
        "<p>ok</p><sty",
        "<p>ok</p",
        "<p>o<wbr>k</p>",
        "<p><o:p></o:p>ok</p>",
        "<select><option>fever</option><option selected>ok</option></select>",
    ],
)
def test_what_a_reader_of_the_page_does_not_see_is_no_text(source: str) -> None:
    assert read_view(source).text == "ok"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("no&nbsp;fever", "no fever"),
        ("doesn&#39;t, can&#x27;t", "doesn't, can't"),
        (
            "<p>no&nbspfever &ltunknown&gt; R&D &bogus; &notit;</p>",
            "no fever <unknown> R&D &bogus; \u00acit;",
        ),
        ("<p>38 &#176;C, diarrh&oelig;a &#150; x</p>", "38 \u00b0C, diarrhoea \u2013 x"),
        ("<p>temp <38, <Redacted>, <name></p>", "temp <38, <Redacted>, <name>"),
    ],
)
def test_character_references_are_decoded_as_browsers_do(source: str, text: str) -> None:
    view = read_view(source)
    assert (view.text, view.markup) == (text, "html")


def test_letters_behind_a_reference_without_its_semicolon_keep_their_places() -> None:
    source = "<p>no&nbspfever</p>"
    start, end = read_view(source).span(3, 8)
    assert source[start:end] == "fever"


def test_boxes_are_written_as_they_are_checked() -> None:
    source = (
        "<input type=checkbox checked>Fever <input type='checkbox'/> Cough <input type=radio checked=false>No"
    )
    assert read_view(source).text == "[x]Fever [ ] Cough [ ]No"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<b>HPI</b>\nNo fever\n\nCough", "HPI\nNo fever\n\nCough"),
        ("No fever<br>\nCough<br />\r\n<br />\r\nRash", "No fever\nCough\n\nRash"),
        ("<pre>No fever\n  cough</pre>", "No fever\n  cough"),
        ("<p>No fever\n and\tcough</p>", "No fever and cough"),
    ],
)
def test_lines_of_the_source_count_only_where_no_block_lays_out_the_page(source: str, text: str) -> None:
    assert read_view(source).text == text


def test_a_struck_element_that_is_never_closed_hides_nothing() -> None:
    assert read_view("<p>a</p><s>fever").text == "a\n\nfever"
