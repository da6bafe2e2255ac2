"""The names under which electronic health records, research databases and registries keep a note's fields.

Names are compared by their letters and digits alone: `NoteID`, `note id` and `NOTE_ID` are one name. Each
list has the surest name first. Sources: Epic Clarity and Caboodle, Cerner Millennium, the VA's Corporate
Data Warehouse, MIMIC-III, MIMIC-IV-Note, eICU, OMOP, PCORnet, i2b2, CLIF, Synthea, VAERS, FAERS.
"""

from __future__ import annotations

#: Where the text is. Of these a table must have one only.
TEXT_NAMES = """
    text note_text transcription note notes report report_text clinical_note narrative document content
    symptom_text
"""

#: Where the text may be in a table with none of `TEXT_NAMES`.
MORE_TEXT_NAMES = """
    clinical_notes clinical_text document_text doc_text note_content note_contents note_body note_value body
    full_text free_text raw_text plain_text report_content document_content observation_blob blob_contents
    result_text progress_note
"""

#: The rest of a note. Of `time`, each is tried in turn until one holds a date.
KNOWN_NAMES = {
    "note_id": """
        note_id row_id document_id doc_id report_id sample_id
        note_identifier note_key note_uid note_uuid note_guid note_sid note_ien
        tiu_document_sid tiu_document_ien report_text_sid hno_note_id hno_id note_csn_id
        clinical_note_id clinical_note_key clinical_document_id document_reference_id
        clinical_event_id note_event_id event_id ce_blob_result_id note_version_id
        document_sid document_key document_uid document_uuid document_guid document_identifier
        doc_key doc_uid doc_guid report_key report_uid report_identifier rad_report_id radiology_report_id
        note_number note_num note_no document_number document_no doc_number doc_no report_number report_no
        accession_number accession_id accession accession_no text_id narrative_id transcription_id
        vaers_id primary_id isr case_id case_number record_id uid uuid guid _id id
    """,
    "patient_id": """
        patient_id subject_id person_id pat_id mrn patient_mrn pat_mrn_id pat_mrn mrn_id medical_record_number
        med_rec_no med_rec_num mr_number mr_no mrn_number patient_sid patient_icn patient_ien scr_ssn
        patient_durable_key patient_key patient_epic_id patid patient_num patient_number patient_no pat_num
        pt_id ptid pt_no unique_pid empi empi_id epi_mrn emp_i eid_mrn subj_id usubj_id usubjid
        subject_identifier participant_id member_id bene_id patient_identifier patient_uid patient_uuid
        patient_guid person_source_value patient_source_value person_key person_uid deid_pat_id
        study_subject_id nhs_number hospital_number pid icn patient subject person
    """,
    "encounter_id": """
        encounter_id hadm_id visit_id visit_occurrence_id pat_enc_csn_id pat_enc_csn csn csn_id encounter_csn
        encounter_csn_id encounter_epic_csn enc_csn_id contact_serial_number encntr_id enc_id encounter_num
        encounter_number encounter_no encounter_key encounter_identifier encounter_uid encounter_guid
        visit_sid visit_ien visit_num visit_number visit_no visit_key inpatient_sid hospitalization_id
        hospitalisation_id admission_id adm_id hospital_admission_id hosp_admission_id stay_id icustay_id
        icu_stay_id patient_unit_stay_id patient_health_system_stay_id hsp_account_id hsp_account
        hospital_account_id har fin fin_nbr fin_number account_number acct_num account_num
        patient_account_number episode_id visit_detail_id encounter visit
    """,
    "time": """
        time chart_time chart_date note_datetime note_date timestamp datetime
        note_time note_timestamp note_dttm note_dt note_date_time reference_date_time reference_datetime
        service_datetime service_date_time service_instant date_of_service date_of_servic_dttm
        date_of_service_dttm service_dttm service_date dos serv_date note_service_date
        note_date_of_service spec_note_time_dttm note_written_date note_created_date note_created_datetime
        date_of_note date_created datetime_created date_written date_entered date_recorded date_signed
        date_performed note_creation_date note_entry_date create_instant_dttm creation_instant
        created_datetime created_date_time creation_datetime creation_date_time created_date
        create_date creation_date
        created_at created_on create_dttm created entry_date_time entry_datetime entry_date entry_dttm
        enter_dttm ent_instant_local_dttm authored_on authored_date authored_datetime author_date
        effective_date_time effective_datetime effective_date issued event_datetime event_date_time
        event_end_dt_tm event_end_dttm event_start_dt_tm event_date event_dttm event_dt performed_dt_tm
        performed_dttm observation_datetime observation_date observation_time document_datetime
        document_date_time document_date document_dttm document_time doc_date report_datetime
        report_date_time report_date report_dttm report_time exam_datetime exam_date exam_dttm study_date
        study_datetime result_datetime result_date result_dttm result_time recorded_datetime recorded_date
        recorded_at record_date record_datetime transcription_date dictated_date dictation_date
        visit_datetime visit_date encounter_datetime encounter_date contact_dttm contact_date
        start_datetime start_date_time start_date start_dttm date_time date_and_time signature_date_time
        signature_datetime signed_datetime signed_date sign_date note_file_time_dttm file_time store_time
        store_date recv_date received_date date_received rept_date dttm ts date
    """,
    "category": """
        category note_type medical_specialty specialties note_type_name note_type_desc note_type_description
        note_type_display note_category note_kind document_type document_type_name document_type_desc
        doc_type report_type note_class note_class_name tiu_standard_title tiu_document_definition
        ip_note_type_name ip_note_type ip_note_type_c document_category doc_category document_class
        report_category event_title_text standard_title note_title document_title specialty note_subtype
        note_type_concept_id note_class_concept_id
    """,
    "sex": "sex gender patient_sex patient_gender sex_code gender_code",
    "age": "age age_yrs age_years patient_age age_in_years",
    "codes": "codes",
    "retracted": "iserror is_error",
}


def plain(name: str) -> str:
    """`name` by its letters and digits, without case: `Note-ID` and `NOTE_ID` are both `noteid`."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _listed(names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(plain(name) for name in names.split()))


TEXT, MORE_TEXT = _listed(TEXT_NAMES), _listed(MORE_TEXT_NAMES)
KNOWN: dict[str, tuple[str, ...]] = {field: _listed(names) for field, names in KNOWN_NAMES.items()}

#: Every name of the above.
NAMES = frozenset((*TEXT, *MORE_TEXT, *(name for names in KNOWN.values() for name in names)))
#: Those that rows also hold as values, in a column of categories say: they are no sign of a header alone.
ALSO_VALUES = frozenset(
    _listed(
        """
        note notes report reports narrative document content body transcription clinical_note clinical_notes
        progress_note patient subject person visit encounter specialty issued created fin har dos
        """
    )
)
