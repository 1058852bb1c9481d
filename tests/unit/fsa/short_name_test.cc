// Short names: MS-FSA 2.1.5.15.13 "FileShortNameInformation", and how they go with their long ones.

#include <gtest/gtest.h>

#include <set>

#include "core/store/attributes.h"
#include "tests/unit/fsa/opened_store.h"

namespace ntfs {
namespace {

using namespace testing;  // NOLINT: the words of these tests
using ondisk::NameType;
using RenameMode = ObjectStore::RenameMode;

class ShortNameTest : public ::testing::Test {
 protected:
  void TearDown() override { s_.check(); }

  ObjectStore& store() { return s_.store(); }
  File& root() { return *store().root(); }
  FilePtr make(std::u16string_view name, FileKind kind = FileKind::File) {
    CreateParameters parameters;
    parameters.kind = kind;
    const auto file = store().create(root(), name, parameters);
    EXPECT_TRUE(file);
    return *file;
  }
  FilePtr make(std::u16string_view name, std::u16string_view short_name) {
    const FilePtr file = make(name);
    EXPECT_TRUE(store().set_short_name(*file, short_name));
    return file;
  }
  NtStatus set(const FilePtr& file, std::u16string_view name) {
    return store().set_short_name(*file, name).error();
  }
  std::u16string get(const FilePtr& file) {
    const auto name = store().query_short_name(*file);
    if (!name) {
      EXPECT_EQ(name.error(), NtStatus::ObjectNameNotFound);
    }
    return name ? *name : u"";
  }
  /// What is found by the name in the root; null when nothing is.
  FilePtr at(std::u16string_view name) {
    const auto file = store().lookup(root(), name);
    return file ? *file : nullptr;
  }
  NtStatus rename(std::u16string_view from, std::u16string_view to,
                  RenameMode mode = RenameMode::Replace) {
    return store().rename(root(), from, root(), to, mode).error();
  }
  NtStatus remove(std::u16string_view name) {
    const auto removed = store().remove(root(), name, ObjectStore::RemoveKind::File);
    return removed ? NtStatus::Success : removed.error();
  }
  std::set<std::u16string> listed() {
    std::set<std::u16string> names;
    const auto entries = store().query_directory(root());
    EXPECT_TRUE(entries);
    for (const DirectoryEntry& entry : *entries) names.insert(entry.name);
    names.erase(u"file");  // the OpenedStore's own
    return names;
  }
  /// Namespaces of all names of the file.
  std::multiset<NameType> types(const FilePtr& file) {
    std::multiset<NameType> result;
    const SharedLock lock(store().volume().journal().metadata_lock());
    Attributes attributes(store().volume(), file->reference());
    const auto found = attributes.all_of(ondisk::AttributeType::FileName);
    EXPECT_TRUE(found);
    for (const auto& each : *found) {
      result.insert(ondisk::FileNameView::of_valid(each.view().value()).name_type());
    }
    return result;
  }
  using Types = std::multiset<NameType>;

  OpenedStore s_;
};

TEST_F(ShortNameTest, GoesBesideTheLongOne) {
  proves("H1");
  const FilePtr file = make(u"A long name.text");
  EXPECT_EQ(get(file), u"");
  EXPECT_EQ(types(file), Types{NameType::Posix});
  EXPECT_EQ(set(file, u"along~1.txt"), NtStatus::Success);
  EXPECT_EQ(get(file), u"ALONG~1.TXT");
  EXPECT_EQ(types(file), (Types{NameType::Win32, NameType::Dos}));
  EXPECT_EQ(at(u"ALONG~1.TXT"), file);
  EXPECT_EQ(at(u"A long name.text"), file);
  EXPECT_EQ(listed(), std::set<std::u16string>{u"A long name.text"});
  EXPECT_EQ(store().query_information(*file)->link_count, 1u);
  s_.check();
  EXPECT_EQ(set(file, u"OTHER"), NtStatus::Success);
  EXPECT_EQ(at(u"ALONG~1.TXT"), nullptr);
  EXPECT_EQ(at(u"OTHER"), file);
  s_.check();
  EXPECT_EQ(set(file, u""), NtStatus::Success);
  EXPECT_EQ(get(file), u"");
  EXPECT_EQ(at(u"OTHER"), nullptr);
  EXPECT_EQ(types(file), Types{NameType::Posix});
}

TEST_F(ShortNameTest, IsTheLongOneWhereThatIsShort) {
  const FilePtr file = make(u"Read.Me", u"READ.ME");
  EXPECT_EQ(types(file), Types{NameType::Win32AndDos});
  EXPECT_EQ(get(file), u"READ.ME");
  EXPECT_EQ(listed(), std::set<std::u16string>{u"Read.Me"});
  s_.check();
  EXPECT_EQ(set(file, u"ANOTHER"), NtStatus::Success);
  EXPECT_EQ(types(file), (Types{NameType::Win32, NameType::Dos}));
  EXPECT_EQ(set(file, u"read.me"), NtStatus::Success);
  EXPECT_EQ(types(file), Types{NameType::Win32AndDos});
  EXPECT_EQ(set(file, u""), NtStatus::Success);
  EXPECT_EQ(types(file), Types{NameType::Posix});
}

TEST_F(ShortNameTest, GoesWithItsLongName) {
  make(u"first long name", u"FIRST~1");
  EXPECT_EQ(remove(u"first long name"), NtStatus::Success);
  EXPECT_EQ(at(u"FIRST~1"), nullptr);
  make(u"second long name", u"SECOND~1");
  EXPECT_EQ(remove(u"SECOND~1"), NtStatus::Success);
  EXPECT_EQ(at(u"second long name"), nullptr);
  const FilePtr third = make(u"third long name", u"THIRD~1");
  EXPECT_EQ(rename(u"third long name", u"renamed"), NtStatus::Success);
  EXPECT_EQ(at(u"THIRD~1"), nullptr);
  EXPECT_EQ(at(u"renamed"), third);
  EXPECT_EQ(types(third), Types{NameType::Posix});
  const FilePtr fourth = make(u"fourth long name", u"FOURTH~1");
  EXPECT_EQ(rename(u"FOURTH~1", u"renamed too"), NtStatus::Success);
  EXPECT_EQ(at(u"fourth long name"), nullptr);
  EXPECT_EQ(at(u"renamed too"), fourth);
  EXPECT_EQ(listed(), (std::set<std::u16string>{u"renamed", u"renamed too"}));
}

TEST_F(ShortNameTest, OfATargetGoesWithIt) {
  const FilePtr source = make(u"source");
  make(u"a target name", u"ATARGE~1");
  EXPECT_EQ(rename(u"source", u"a target name"), NtStatus::Success);
  EXPECT_EQ(at(u"ATARGE~1"), nullptr);
  make(u"b target name", u"BTARGE~1");
  EXPECT_EQ(rename(u"a target name", u"BTARGE~1"), NtStatus::Success);
  EXPECT_EQ(at(u"b target name"), nullptr);
  EXPECT_EQ(at(u"BTARGE~1"), source);
  const FilePtr one = make(u"one long name", u"ONELON~1");
  const FilePtr two = make(u"two long name", u"TWOLON~1");
  EXPECT_EQ(rename(u"ONELON~1", u"two long name", RenameMode::Exchange), NtStatus::Success);
  EXPECT_EQ(at(u"ONELON~1"), two);
  EXPECT_EQ(at(u"two long name"), one);
  EXPECT_EQ(at(u"TWOLON~1"), nullptr);
  EXPECT_EQ(at(u"one long name"), nullptr);
  EXPECT_EQ(rename(u"two long name", u"BTARGE~1", RenameMode::NoReplace),
            NtStatus::ObjectNameCollision);
}

TEST_F(ShortNameTest, MayTakeThePlaceOfItsLongName) {
  const FilePtr file = make(u"A long name.text", u"ALONG~1.TXT");
  // What is there already.
  EXPECT_EQ(rename(u"ALONG~1.TXT", u"A long name.text"), NtStatus::Success);
  EXPECT_EQ(rename(u"ALONG~1.TXT", u"ALONG~1.TXT"), NtStatus::Success);
  EXPECT_EQ(listed(), std::set<std::u16string>{u"A long name.text"});
  EXPECT_EQ(rename(u"A long name.text", u"ALONG~1.TXT"), NtStatus::Success);
  EXPECT_EQ(listed(), std::set<std::u16string>{u"ALONG~1.TXT"});
  EXPECT_EQ(types(file), Types{NameType::Posix});
  EXPECT_EQ(set(file, u"ALONG~1.TXT"), NtStatus::Success);
  EXPECT_EQ(rename(u"ALONG~1.TXT", u"along~1.txt"), NtStatus::Success);
  EXPECT_EQ(listed(), std::set<std::u16string>{u"along~1.txt"});
}

TEST_F(ShortNameTest, IsUniqueInItsDirectory) {
  proves("H4");
  const FilePtr file = make(u"A long name", u"ALONGN~1");
  const FilePtr other = make(u"another name");
  make(u"taken");
  EXPECT_EQ(set(other, u"alongn~1"), NtStatus::ObjectNameCollision);
  EXPECT_EQ(set(other, u"Taken"), NtStatus::ObjectNameCollision);
  EXPECT_FALSE(store().create(root(), u"ALONGN~1", {}));
  const FilePtr directory = make(u"directory", FileKind::Directory);
  ASSERT_TRUE(
      store().rename(root(), u"another name", *directory, u"another name", RenameMode::Replace));
  EXPECT_EQ(set(other, u"ALONGN~1"), NtStatus::Success);
  EXPECT_EQ(get(file), u"ALONGN~1");
}

TEST_F(ShortNameTest, HasTheFormOfOne) {
  proves("H2");
  const FilePtr file = make(u"A long name");
  for (const auto* name :
       {u"NINELONG1", u"NAME.LONG", u"TWO.DO.T", u".DOT", u"DOT.", u"A B", u"A+B", u"A[B", u"A;B",
        u"A*B", u"A\\B", u"\\A", u"CON", u"LPT1.TXT", u"A\u0001", u"...", u"A/B"}) {
    EXPECT_EQ(set(file, name), NtStatus::InvalidParameter) << std::string(name, name + 3);
  }
  for (const auto* name : {u"EIGHTLNG.EXT", u"A", u"A.B", u"~$#@!'()-", u"{600F0~1", u"\u00C4"}) {
    if (std::u16string(name).size() > 8 &&
        std::u16string(name).find(u'.') == std::u16string::npos) {
      continue;
    }
    EXPECT_EQ(set(file, name), NtStatus::Success);
    EXPECT_EQ(get(file), name);
  }
  EXPECT_EQ(set(file, u"\u00E4"), NtStatus::Success);
  EXPECT_EQ(get(file), u"\u00C4");
}

TEST_F(ShortNameTest, NeedsALongNameThatWindowsShows) {
  EXPECT_EQ(set(make(u"colon:"), u"COLON"), NtStatus::InvalidParameter);
  EXPECT_EQ(set(make(u"dot."), u"DOT"), NtStatus::InvalidParameter);
  EXPECT_EQ(set(store().root(), u"ROOT"), NtStatus::InvalidParameter);
  EXPECT_EQ(get(store().root()), u"");
  EXPECT_EQ(set(store().file(FileReference(ondisk::kMftRecord, 1)), u"MFT"),
            NtStatus::AccessDenied);
}

TEST_F(ShortNameTest, BelongsToOneOfManyLinks) {
  const FilePtr file = make(u"first link");
  ASSERT_TRUE(store().link(*file, root(), u"second link"));
  EXPECT_EQ(get(file), u"");
  EXPECT_EQ(set(file, u"LINK"), NtStatus::TooManyLinks);
  EXPECT_EQ(set(file, u""), NtStatus::TooManyLinks);
  ASSERT_EQ(remove(u"second link"), NtStatus::Success);
  EXPECT_EQ(set(file, u"FIRST"), NtStatus::Success);
  ASSERT_TRUE(store().link(*file, root(), u"second link"));
  EXPECT_EQ(get(file), u"FIRST");
  EXPECT_EQ(set(file, u"FIRST~1"), NtStatus::Success);
  EXPECT_EQ(store().query_information(*file)->link_count, 2u);
  s_.check();
  EXPECT_EQ(remove(u"second link"), NtStatus::Success);
  EXPECT_EQ(get(file), u"FIRST~1");
  ASSERT_TRUE(store().link(*file, root(), u"second link"));
  EXPECT_EQ(remove(u"FIRST~1"), NtStatus::Success);
  EXPECT_EQ(listed(), std::set<std::u16string>{u"second link"});
  EXPECT_EQ(get(file), u"");
}

TEST_F(ShortNameTest, OfADirectoryLeadsIntoIt) {
  const FilePtr directory = make(u"A long directory", FileKind::Directory);
  EXPECT_EQ(set(directory, u"ALONGD~1"), NtStatus::Success);
  const FilePtr inside = *store().create(*at(u"ALONGD~1"), u"inside", {});
  EXPECT_EQ(*store().lookup(*at(u"A long directory"), u"inside"), inside);
  EXPECT_EQ(rename(u"ALONGD~1", u"moved"), NtStatus::Success);
  EXPECT_EQ(*store().lookup(*at(u"moved"), u"inside"), inside);
}

TEST_F(ShortNameTest, NeedsAnOpenThatMayWriteAttributes) {
  proves("H1 H3");
  const auto with = [&](uint32_t access) {
    const OpenPtr open = s_.open(0, access);
    return store().set_short_name(*open, u"SHORT").error();
  };
  EXPECT_EQ(with(AccessMask::ReadData | AccessMask::ReadAttributes), NtStatus::AccessDenied);
  EXPECT_EQ(with(AccessMask::WriteAttributes), NtStatus::Success);
  EXPECT_EQ(with(AccessMask::WriteData), NtStatus::Success);
  EXPECT_EQ(get(s_.file()), u"SHORT");
  {
    const OpenPtr open = s_.open(0, AccessMask::WriteData);
    EXPECT_EQ(store().set_short_name(*open, u"TOO LONG").error(), NtStatus::InvalidParameter);
    ASSERT_EQ(remove(u"file"), NtStatus::Success);
    EXPECT_EQ(store().set_short_name(*open, u"GONE").error(), NtStatus::AccessDenied);
  }
}

TEST_F(ShortNameTest, OutlivesACrash) {
  const FilePtr file = make(u"A long name", u"ALONGN~1");
  make(u"second long name", u"SECOND~1");
  ASSERT_EQ(rename(u"SECOND~1", u"second"), NtStatus::Success);
  ASSERT_TRUE(store().flush());
  s_.crash();
  EXPECT_EQ(listed(), (std::set<std::u16string>{u"A long name", u"second"}));
  EXPECT_EQ(get(at(u"A long name")), u"ALONGN~1");
  EXPECT_EQ(get(at(u"second")), u"");
}

}  // namespace
}  // namespace ntfs
