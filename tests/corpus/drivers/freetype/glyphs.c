/* Loads the glyphs of a variable font, simple and composed, at several weights and sizes.
 *
 * object: libfreetype.so.6*
 * link: -I/usr/include/freetype2 -lfreetype
 */
#include "driver.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include FT_MULTIPLE_MASTERS_H
#include FT_OUTLINE_H

static int advance(FT_Face face, FT_ULong code, FT_Fixed weight, FT_Int32 flags) {
    FT_Set_Var_Design_Coordinates(face, 1, &weight);
    if (FT_Load_Char(face, code, flags)) return -1;
    return (int)face->glyph->metrics.horiAdvance;
}

void exercise(void) {
    static _Thread_local unsigned round;
    FT_Library library;
    FT_Face face;
    FT_MM_Var *axes = NULL;
    FT_Init_FreeType(&library);
    if (FT_New_Face(library, driver_data("variable.ttf"), 0, &face)) {
        driver_fail("no font");
        FT_Done_FreeType(library);
        return;
    }
    if (FT_Get_MM_Var(face, &axes) || axes->num_axis != 1) driver_fail("no axis");
    FT_Done_MM_Var(library, axes);
    FT_Set_Pixel_Sizes(face, 0, 10 + round++ % 40);
    int narrow = advance(face, 'A', 400 << 16, FT_LOAD_NO_SCALE),
        wide = advance(face, 'A', 900 << 16, FT_LOAD_NO_SCALE),
        composed = advance(face, 0xC1, 900 << 16, FT_LOAD_RENDER),
        other = advance(face, 0xC1, 700 << 16, FT_LOAD_NO_HINTING);
    if (narrow != 600 || wide != 640 || composed <= 0 || other <= 0)
        driver_fail("advances %d %d %d %d", narrow, wide, composed, other);
    FT_Done_Face(face);
    FT_Done_FreeType(library);
}
