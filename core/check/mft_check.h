#pragma once

// $MFT: finding it, and the pass over all of its records.

#include <optional>

#include "core/check/context.h"

namespace ntfs::check {

/// The runs and sizes of $MFT, from record 0 and, through its attribute list, the records that
/// continue it. Nothing, with a finding, when $MFT cannot be found.
std::optional<Stream> find_mft(VolumeReader& reader, Findings& findings);

/// The table of $UpCase; none, without a finding, when there is no good one.
UpCase load_upcase(const Stream& mft, VolumeReader& reader);

/// Reads every record and checks every file.
void check_mft_records(const Stream& mft, Context& context);
/// Compares the in-use flags with the bits of $MFT:$BITMAP.
void check_mft_bitmap(Context& context);
/// Compares $MFTMirr with the first records.
void check_mft_mirror(const Stream& mft, Context& context);

}  // namespace ntfs::check
