"""Read a note as it comes (HTML, CDA, RTF, HL7 v2, odd Unicode) as plain text with places in the original."""
