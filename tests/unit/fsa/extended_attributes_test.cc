// $EA and $EA_INFORMATION: MS-FSA 2.1.5.15.6 "FileFullEaInformation".

#include "core/fsa/extended_attributes.h"

#include "core/fsa/names.h"
#include "core/store/attributes.h"
#include "tests/unit/fsa/opened_store.h"
#include "tests/unit/fsa/usn_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::Ea;

class ExtendedAttributesTest : public ::testing::Test {
 protected:
  void TearDown() override { s_.check(); }

  NtStatus set(std::string_view name, ByteView value) {
    return s_.store().set_ea(*s_.file(), name, value).error();
  }
  Result<ByteVector> query(std::string_view name) { return s_.store().query_ea(*s_.file(), name); }
  std::vector<Ea> all() {
    auto eas = s_.store().query_eas(*s_.file());
    EXPECT_TRUE(eas.has_value());
    return eas ? std::move(*eas) : std::vector<Ea>();
  }
  bool has_attribute(ondisk::AttributeType type) {
    const SharedLock lock(s_.store().volume().journal().metadata_lock());
    return Attributes(s_.store().volume(), s_.file()->reference()).find(type).has_value();
  }
  /// As the directory repeats it.
  uint32_t listed_length() {
    const SharedLock lock(s_.store().volume().journal().metadata_lock());
    const auto entry = find_entry(s_.store().volume(), s_.store().root()->reference(), u"file",
                                  IndexTree::NameMatch::Exact);
    EXPECT_TRUE(entry && *entry);
    return entry && *entry ? (**entry).duplicated.ea_length_or_reparse_tag.get() : 0;
  }

  OpenedStore s_;
};

constexpr auto kInformation = ondisk::AttributeType::EaInformation;

TEST_F(ExtendedAttributesTest, AreSetReplacedAndRemoved) {
  EXPECT_EQ(query("trusted.a").error(), NtStatus::NonexistentEaEntry);
  EXPECT_EQ(s_.store().remove_ea(*s_.file(), "a").error(), NtStatus::NonexistentEaEntry);
  ASSERT_EQ(set("trusted.a", filled(10, 1)), NtStatus::Success);
  ASSERT_EQ(set("security.b", {}), NtStatus::Success);
  ASSERT_EQ(set("trusted.a", filled(30, 2)), NtStatus::Success);
  s_.remount();
  EXPECT_EQ(all(), (std::vector<Ea>{{0, "trusted.a", filled(30, 2)}, {0, "security.b", {}}}));
  EXPECT_EQ(*query("trusted.a"), filled(30, 2));
  EXPECT_EQ(query("Trusted.a").error(), NtStatus::NonexistentEaEntry);
  EXPECT_EQ(listed_length(), (5u + 9 + 30) + (5 + 10)) << "packed";
  ASSERT_TRUE(s_.store().remove_ea(*s_.file(), "trusted.a"));
  ASSERT_TRUE(s_.store().remove_ea(*s_.file(), "security.b"));
  EXPECT_FALSE(has_attribute(kInformation));
  EXPECT_FALSE(has_attribute(ondisk::AttributeType::Ea));
  EXPECT_EQ(listed_length(), 0u);
}

TEST_F(ExtendedAttributesTest, OfAnySizeUpTo64K) {
  for (const size_t size : {390, 10, 5000, 60000, 100, 65500}) {
    ASSERT_EQ(set("e", filled(size, 1)), NtStatus::Success) << size;
    s_.check();
    s_.remount();
    EXPECT_EQ(*query("e"), filled(size, 1));
  }
  EXPECT_EQ(set("f", filled(100, 1)), NtStatus::EaTooLarge);
  EXPECT_EQ(set("e", filled(65530, 1)), NtStatus::EaTooLarge);
  EXPECT_EQ(*query("e"), filled(65500, 1));
  EXPECT_EQ(set(std::string(255, 'x'), {}), NtStatus::NameTooLong);
  EXPECT_EQ(set("", {}), NtStatus::NameTooLong);
}

TEST_F(ExtendedAttributesTest, ChangeTogetherWithTheMode) {
  ASSERT_EQ(set("kept", filled(4, 1)), NtStatus::Success);
  ASSERT_EQ(set("gone", filled(4, 2)), NtStatus::Success);
  BasicInformation information;
  information.linux_metadata.mode = 0100640;
  information.eas = {{"made", filled(5, 3)}, {"gone", std::nullopt}, {"never", std::nullopt}};
  ASSERT_TRUE(s_.store().set_basic_information(*s_.file(), information));
  BasicInformation without_mode;
  without_mode.eas = {{"kept", filled(6, 4)}};
  ASSERT_TRUE(s_.store().set_basic_information(*s_.file(), without_mode));
  s_.remount();
  EXPECT_EQ(all().size(), 3u);
  EXPECT_EQ(*query("kept"), filled(6, 4));
  EXPECT_EQ(*query("made"), filled(5, 3));
  EXPECT_EQ(query("gone").error(), NtStatus::NonexistentEaEntry);
  EXPECT_EQ(s_.store().query_information(*s_.file())->linux_metadata.mode, 0100640u);
}

TEST_F(ExtendedAttributesTest, LeaveWhatOthersSetAlone) {
  const std::vector<Ea> foreign{{ondisk::kNeedEa, "NEEDED", filled(3, 1)}, {0, "$OTHER", {}}};
  ASSERT_TRUE(s_.store().set_eas(*s_.file(), foreign));
  BasicInformation mode;
  mode.linux_metadata.mode = 0100751;
  ASSERT_TRUE(s_.store().set_basic_information(*s_.file(), mode));
  ASSERT_EQ(set("trusted.a", filled(2, 1)), NtStatus::Success);
  s_.remount();
  const auto eas = all();
  ASSERT_EQ(eas.size(), 4u);
  EXPECT_EQ(eas[0], foreign[0]);
  EXPECT_EQ(eas[1], foreign[1]);
  EXPECT_EQ(eas[2].name, "$LXMOD");
  EXPECT_EQ(s_.information().linux_metadata.mode, 0100751u);
  {
    const SharedLock lock(s_.store().volume().journal().metadata_lock());
    const auto found = Attributes(s_.store().volume(), s_.file()->reference()).find(kInformation);
    ASSERT_TRUE(found);
    const auto information = ondisk::parse_ea_information(found->view().value(), {});
    ASSERT_TRUE(information);
    EXPECT_EQ(information->need_ea_count.get(), 1u);
  }
  ASSERT_TRUE(s_.store().set_eas(*s_.file(), {}));
  EXPECT_FALSE(s_.information().linux_metadata.mode);
}

TEST_F(ExtendedAttributesTest, ThatAreDamagedAreToldAndLeaveTheRestUsable) {
  ASSERT_EQ(set("e", filled(20, 1)), NtStatus::Success);
  {
    Volume& volume = s_.store().volume();
    Transaction transaction(volume.journal());
    ASSERT_TRUE(transaction.begin());
    Attributes attributes(volume, s_.file()->reference());
    ASSERT_TRUE(attributes.set_value(transaction, ondisk::AttributeType::Ea, u"", filled(20, 3)));
    ASSERT_TRUE(attributes.set_value(transaction, kInformation, u"", filled(3, 3)));
    transaction.commit();
  }
  EXPECT_EQ(query("e").error(), NtStatus::EaCorruptError);
  EXPECT_EQ(set("e", {}), NtStatus::EaCorruptError);
  s_.file()->note_modified();
  ASSERT_TRUE(s_.store().flush());
  {
    Transaction transaction(s_.store().volume().journal());
    ASSERT_TRUE(transaction.begin());
    ASSERT_TRUE(write_eas(transaction, s_.store().volume(), s_.file()->reference(), {}));
    transaction.commit();
  }
}

TEST(ExtendedAttributesUsn, SayEaChange) {
  UsnStore v;
  const FilePtr file = v.make(u"a");
  v.news();
  ASSERT_TRUE(v.store().set_ea(*file, "trusted.a", filled(3, 1)));
  const std::vector<Said> expected{{"a", 0x400, FileReference(5, 5)},
                                   {"a", 0x80000400, FileReference(5, 5)}};
  EXPECT_EQ(v.news(), expected);
  ASSERT_TRUE(v.store().remove_ea(*file, "trusted.a"));
  EXPECT_EQ(v.news(), expected);
  EXPECT_FALSE(v.store().remove_ea(*file, "trusted.a"));
  EXPECT_EQ(v.news(), std::vector<Said>());
  EXPECT_EQ(v.check(), "");
}

}  // namespace
}  // namespace ntfs
