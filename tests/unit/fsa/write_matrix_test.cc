// Every way to write (fsa.md 3.4): modes, offsets, forms of the stream, counts and locks together,
// each beside a model that knows the content byte by byte.

#include <gtest/gtest.h>

#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using Mode = ByteRangeLock::Mode;

enum class How { Buffered, Unbuffered, WriteThrough };
enum class Where { BelowValid, BelowSize, AtSize, BehindSize, End, Position };
enum class Form { Resident, Nonresident, Sparse };
enum class Held { Nothing, ForeignShared, ForeignExclusive, OwnShared, OwnExclusiveOtherKey };

struct Case {
  How how;
  Where where;
  Form form;
  size_t count;
  Held held;
};

/// The stream as it is before the write.
struct Content {
  ByteVector bytes;  // of the file size
  uint64_t valid = 0;
};

constexpr uint64_t kSector = 512;
constexpr int64_t kPosition = 2 * 4096 + 512;

class WriteMatrix : public ::testing::Test {
 protected:
  static constexpr size_t kCounts[] = {0, 1, kSector, 4095, 4096, 4097, (1 << 20) + kSector};

  /// The offset asked for, and the one that it comes to.
  static std::pair<int64_t, uint64_t> offset_of(Where where, Form form, const Content& content) {
    const bool is_small = form == Form::Resident;
    switch (where) {
      case Where::BelowValid:
        return is_small ? std::pair(0, 0) : std::pair(4 * 4096, 4 * 4096);
      case Where::BelowSize:
        return {content.valid + kSector - content.valid % kSector - (is_small ? kSector / 2 : 0),
                content.valid + kSector - content.valid % kSector - (is_small ? kSector / 2 : 0)};
      case Where::AtSize:
        return {content.bytes.size(), content.bytes.size()};
      case Where::BehindSize:
        return {content.bytes.size() + 40960, content.bytes.size() + 40960};
      case Where::End:
        return {kEndOfStream, content.bytes.size()};
      case Where::Position:
        return {kCurrentPosition, kPosition};
    }
    return {};
  }

  /// Makes the file anew.
  Content prepare(Form form) {
    const auto open = s_->open();
    Content content;
    EXPECT_TRUE(s_->store().set_end_of_file(*open, 0));
    const auto put = [&](uint64_t offset, const ByteVector& bytes) {
      EXPECT_EQ(s_->write(*open, static_cast<int64_t>(offset), bytes), NtStatus::Success);
      content.valid = std::max<uint64_t>(content.valid, offset + bytes.size());
      content.bytes.resize(content.valid);
      std::copy(bytes.begin(), bytes.end(), content.bytes.begin() + static_cast<ptrdiff_t>(offset));
    };
    uint64_t size = kSector;
    if (form == Form::Resident) put(0, filled(100, 1));
    if (form == Form::Nonresident) {
      put(0, filled(20000, 1));
      size = 60 * 1024;
    }
    if (form == Form::Sparse) {
      EXPECT_TRUE(s_->store().set_sparse(*open, Stream::Sparse::Yes));
      put(0, filled(8192, 1));
      put(96 << 10, filled(8192, 2));
      size = 160 << 10;
    }
    EXPECT_TRUE(s_->store().set_end_of_file(*open, static_cast<int64_t>(size)));
    EXPECT_TRUE(s_->file()->data().write_back());
    content.bytes.resize(size);
    BasicInformation information;
    information.times = {past_, past_, past_, past_};
    information.file_attributes = 0;
    EXPECT_TRUE(s_->store().set_basic_information(*s_->file(), information));
    return content;
  }

  static NtStatus expected_status(const Case& c, int64_t asked, uint64_t offset) {
    const bool is_unbuffered = c.how == How::Unbuffered;
    const bool is_aligned = offset % kSector == 0 && c.count % kSector == 0;
    const bool is_early = asked >= 0;
    if (is_unbuffered && is_early && !is_aligned) return NtStatus::InvalidParameter;
    if (c.count == 0) return NtStatus::Success;
    if (is_unbuffered && !is_aligned) return NtStatus::InvalidParameter;
    if (c.held != Held::Nothing) return NtStatus::FileLockConflict;
    return NtStatus::Success;
  }

  void take_lock(Held held, Open& open, Open& foreign) {
    const bool is_own = held == Held::OwnShared || held == Held::OwnExclusiveOtherKey;
    const bool is_shared = held == Held::ForeignShared || held == Held::OwnShared;
    if (held == Held::Nothing) return;
    ASSERT_TRUE(s_->store().lock(
        is_own ? open : foreign,
        {0, 1 << 30, is_shared ? Mode::Shared : Mode::Exclusive, is_own && !is_shared ? 9u : 0u},
        nullptr));
  }

  void run(const Case& c) {
    SCOPED_TRACE(::testing::Message()
                 << "how " << static_cast<int>(c.how) << " where " << static_cast<int>(c.where)
                 << " form " << static_cast<int>(c.form) << " count " << c.count << " held "
                 << static_cast<int>(c.held));
    Content content = prepare(c.form);
    const uint32_t mode = kSynchronous |
                          (c.how == How::Unbuffered ? OpenMode::NoIntermediateBuffering : 0) |
                          (c.how == How::WriteThrough ? OpenMode::WriteThrough : 0);
    auto open = s_->open(mode);
    auto foreign = s_->open();
    ASSERT_TRUE(s_->store().set_position(*open, kPosition));
    take_lock(c.held, *open, *foreign);
    const auto before = s_->sizes();
    const auto [asked, offset] = offset_of(c.where, c.form, content);
    const ByteVector bytes = filled(c.count, 7);
    const NtStatus status = s_->write(*open, asked, bytes);
    ASSERT_EQ(status, expected_status(c, asked, offset));
    const bool is_done = status == NtStatus::Success && c.count != 0;
    const uint64_t end = offset + c.count;
    if (is_done) {
      content.bytes.resize(std::max<uint64_t>(content.bytes.size(), end));
      std::copy(bytes.begin(), bytes.end(), content.bytes.begin() + static_cast<ptrdiff_t>(offset));
    }
    const auto now = s_->sizes();
    EXPECT_EQ(now.file_size, content.bytes.size());
    EXPECT_EQ(now.valid_data_length,
              is_done ? std::max(before.valid_data_length, end) : before.valid_data_length);
    EXPECT_GE(now.mapped, before.mapped < end && is_done ? end : before.mapped);
    EXPECT_EQ(open->current_byte_offset(), is_done ? static_cast<int64_t>(end) : kPosition);
    const auto information = s_->information();
    EXPECT_EQ(information.last_write_time.raw() != past_.raw(), is_done);
    EXPECT_EQ(information.change_time.raw() != past_.raw(), is_done);
    EXPECT_EQ((information.file_attributes & ondisk::FileAttributes::Archive) != 0, is_done);
    foreign.reset();
    if (is_done && c.how != How::Buffered) {
      // Written through: into the log.
      if (c.how == How::WriteThrough) {
        ASSERT_TRUE(s_->store().volume().checkpoint());
      }
      const ByteVector raw = s_->raw(offset, c.count);
      // A small value stays in its file record.
      EXPECT_TRUE(raw == bytes || (end <= 1024 && raw.empty())) << raw.size();
    }
    open.reset();
    if (is_done && c.how == How::WriteThrough && ++count_crashes_ % 8 == 0) s_->crash();
    const auto reader = s_->open();
    EXPECT_TRUE(s_->read(*reader, 0, content.bytes.size() + 4096).bytes == content.bytes);
  }

  const ondisk::FileTime past_ = ondisk::FileTime::from_raw(130000000000000000);
  std::unique_ptr<OpenedStore> s_ = std::make_unique<OpenedStore>();
  size_t count_crashes_ = 0;
};

TEST_F(WriteMatrix, EveryCombinationDoesWhatTheModelSays) {
  proves("3.4 A6 A19 W26 W27 W28");
  size_t count = 0;
  for (const How how : {How::Buffered, How::Unbuffered, How::WriteThrough}) {
    for (const Where where : {Where::BelowValid, Where::BelowSize, Where::AtSize, Where::BehindSize,
                              Where::End, Where::Position}) {
      for (const Form form : {Form::Resident, Form::Nonresident, Form::Sparse}) {
        for (const size_t length : kCounts) {
          for (const Held held : {Held::Nothing, Held::ForeignShared, Held::ForeignExclusive,
                                  Held::OwnShared, Held::OwnExclusiveOtherKey}) {
            // What a lock refuses, it refuses for one long count as for the other.
            if (held != Held::Nothing && length > 4096) continue;
            run({how, where, form, length, held});
            if (HasFatalFailure() || HasNonfatalFailure()) return;
            ++count;
          }
        }
      }
    }
  }
  RecordProperty("combinations", static_cast<int>(count));
  EXPECT_EQ(count, 3u * 6 * 3 * (7 + 5 * 4));
}

TEST_F(WriteMatrix, WithoutSpaceAllOrNothing) {
  proves("3.4 W15 W22 A10 A17");
  for (const How how : {How::Buffered, How::Unbuffered, How::WriteThrough}) {
    for (const Form form : {Form::Nonresident, Form::Sparse}) {
      for (const size_t length : {size_t{4096}, size_t{16384}, size_t{1} << 20}) {
        s_ = std::make_unique<OpenedStore>();
        const Content content = prepare(form);
        ASSERT_TRUE(s_->store().flush());
        s_->fill_but(1);
        const auto open =
            s_->open((how == How::Unbuffered ? OpenMode::NoIntermediateBuffering : 0) |
                     (how == How::WriteThrough ? OpenMode::WriteThrough : 0));
        const auto before = s_->sizes();
        const auto offset = static_cast<int64_t>(form == Form::Sparse ? 16384 : 65536);
        const NtStatus status = s_->write(*open, offset, filled(length, 7));
        EXPECT_EQ(status, length == 4096 ? NtStatus::Success : NtStatus::DiskFull)
            << static_cast<int>(how) << static_cast<int>(form) << " " << length;
        if (status == NtStatus::Success) continue;
        EXPECT_EQ(s_->sizes().file_size, before.file_size);
        EXPECT_EQ(s_->sizes().valid_data_length, before.valid_data_length);
        EXPECT_EQ(s_->sizes().mapped, before.mapped);
        EXPECT_TRUE(s_->read(*open, 0, 1 << 20).bytes == content.bytes);
      }
    }
  }
}

}  // namespace
}  // namespace ntfs
